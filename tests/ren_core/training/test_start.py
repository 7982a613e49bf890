"""The start that pools the patches around the prompt."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F

from ren_core.region_encoder import RegionEncoder
from ren_core.training.start import build_head, start_local
from tests.training_cases import CONFIG


def test_local_start_pools_the_patches_around_the_prompt():
    torch.manual_seed(0)
    head = RegionEncoder(128, 4, 3).eval()
    coarse = torch.randn(1, 128, 4, 4)
    features = F.interpolate(coarse, (16, 16), mode="bilinear")
    features = F.normalize(features, dim=1) * 128**0.5
    cells = torch.arange(16) * 14 + 7
    points = torch.cartesian_prod(cells, cells)[None]
    own = features[0].flatten(1).T

    def likeness():
        with torch.no_grad():
            output = head(features, points, 224)
        return [
            float(F.cosine_similarity(tokens[0], own).mean())
            for tokens in (output.ren_tokens, output.aligned_tokens)
        ]

    assert max(likeness()) < 0.5
    start_local(head, 16, sharpness=2.0)
    assert min(likeness()) > 0.9
    assert not head.training


def test_a_sharper_local_start_looks_at_fewer_patches():
    features = F.normalize(torch.randn(1, 64, 16, 16), dim=1) * 8
    point = torch.tensor([[[112, 112]]])
    looked_at = []
    for sharpness in (2.0, 3.0):
        config = replace(CONFIG, num_heads=4, num_layers=2, start="local", sharpness=sharpness)
        head = build_head(64, 16, config).eval()
        with torch.no_grad():
            output = head(features, point, 224, with_attention=True)
        shares = output.attention_logits[-1].softmax(dim=-1)
        looked_at.append(float(shares.square().sum(dim=-1).reciprocal().mean()))
    assert 1 < looked_at[1] < looked_at[0] < 256
