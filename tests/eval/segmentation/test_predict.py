"""Predictions of whole images, squashed and in sliding windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from eval.segmentation.config import HEAD_PRESETS, Method, SegmentationConfig
from eval.segmentation.head import SegmentationHead
from eval.segmentation.predict import direct_encode, predict, window_starts
from eval.segmentation.views import squashed
from ren_core.images import to_batch
from tests.segmentation_sets import QUICK, example_image
from tests.tiny import SPEC, tiny_ren


def test_every_method_predicts_from_bfloat16_features():
    ren = tiny_ren()
    ren.compute = replace(
        ren.compute, dtype=torch.bfloat16
    )  # as --dtype bfloat16 has it: the encoder's features stay bfloat16
    assert direct_encode(ren)(example_image()[0]).dtype == torch.bfloat16
    methods = (
        Method(source="patches"),
        Method(source="patches", prompting="slic"),
        Method(merge_similarity=0.97),
        Method(prompting="slic"),
    )
    config = SegmentationConfig(methods=methods, head=QUICK, grid_size=6)
    head = SegmentationHead(SPEC.dim, 4, QUICK).eval()
    heads = {0: {"patches": head, "ren": head}}
    for prediction, _ in predict(example_image()[0], ren, config, heads, direct_encode(ren)):
        assert prediction.scores.dtype == torch.float32
        assert bool(torch.isfinite(prediction.scores).all())


def test_whole_images_are_squashed_as_the_recipe_says():
    image, _ = example_image()
    assert squashed(image, 56, HEAD_PRESETS["small"]) is image  # the encoder does it
    bicubic = squashed(image, 56, HEAD_PRESETS["release"])
    for mode, low, high in (("bicubic", 0, 0.5), ("bilinear", 1, 9)):
        small = torch.nn.functional.interpolate(
            to_batch(image), (56, 56), mode=mode, antialias=True
        )
        other = small[0].permute(1, 2, 0).numpy() * 255
        assert low < np.abs(bicubic - other).mean() < high
    ren, seen = tiny_ren(), []

    def encode(picture):
        seen.append(picture)
        return direct_encode(ren)(picture)

    head = SegmentationHead(SPEC.dim, 3, QUICK).eval()
    for recipe, expected in (("release", bicubic), ("small", image)):
        config = SegmentationConfig(
            methods=(Method(source="patches"),), head=HEAD_PRESETS[recipe], grid_size=8
        )
        predict(image, ren, config, {0: {"patches": head}}, encode)
        assert np.array_equal(seen[-1], expected)


def test_sliding_windows_cover_the_image():
    assert window_starts(56, 56) == [0]
    assert window_starts(100, 56) == [0, 37, 44]
    ren = tiny_ren()
    image, _ = example_image()
    head = replace(QUICK, slide=True, dropout=0.1)
    config = SegmentationConfig(
        methods=(Method(source="patches"), Method(prompting="slic")), head=head, grid_size=8
    )
    torch.manual_seed(0)
    trained = SegmentationHead(SPEC.dim, 4, head).eval()
    heads = {0: {"patches": trained, "ren": trained}}
    found = predict(image, ren, config, heads, direct_encode(ren))
    long = np.ascontiguousarray(np.tile(image, (1, 4, 1))[:24])
    assert predict(long, ren, config, heads, direct_encode(ren))[0][0].scores.shape == (4, 19, 224)
    prediction, tokens = found[0]
    assert prediction.scores.shape == (4, 56, 84)  # short side at the encoder's size
    assert tokens == 2 * 64
    assert bool(torch.isfinite(prediction.scores).all())
    # where only the left window looks, its scores stand unchanged
    left = np.ascontiguousarray(np.asarray(Image.fromarray(image).resize((84, 56)))[:, :56])
    squashing = replace(config, head=QUICK)
    (alone, _), _ = predict(left, ren, squashing, heads, direct_encode(ren))
    alone = alone.classes((56, 56))
    both = prediction.classes((56, 84))
    assert (alone[:, :24] == both[:, :24]).mean() > 0.9
