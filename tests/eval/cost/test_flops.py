"""Counted operations against those of the products."""

import pytest

from eval.cost.flops import gflop
from eval.cost.methods import CompareConfig, drawn_picture, ren_methods, sam2_method
from tests.eval.cost.fakes import CPU
from tests.tiny import SPEC, TinyEncoder


def test_operations_of_ren_are_those_of_its_products():
    method = ren_methods(TinyEncoder(), drawn_picture((40, 60)), CompareConfig(), CPU)[0]
    count = method.flops(3)
    D, P, N, layers = SPEC.dim, SPEC.grid**2, 9, 4
    convolution = P * D * 6 * SPEC.patch_size**2
    # per block: queries, output and MLP of prompts; keys and, but for the last, values of patches
    linear = D * D * (N * (1 + 6 * layers) + P * (2 * layers - 1))
    attention = 2 * layers * N * P * D
    assert count.encoder_gflop * 1e9 == pytest.approx(2 * convolution)
    assert count.prompts_gflop * 1e9 == pytest.approx(2 * (linear + attention))
    assert count.gflop == count.encoder_gflop + count.prompts_gflop


def test_operations_of_sam2_without_data_are_those_of_a_call(hiera):
    method = sam2_method("SAM 2", hiera, drawn_picture((48, 64)), CompareConfig(at_once=3))
    count = method.flops(2)
    assert (count.method, count.per_side) == ("SAM 2", 2)
    assert count.encoder_gflop == pytest.approx(gflop(method.encode_image))
    # a position code of the image, the same for all prompts, is made in each of the two batches
    assert count.gflop == pytest.approx(gflop(method.prepare(2)), rel=1e-3)
