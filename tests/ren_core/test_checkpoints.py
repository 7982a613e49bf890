"""Files of heads: the official layout and our own, and what is refused."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from ren_core.checkpoints import load_region_encoder, read_config, save_region_encoder
from ren_core.errors import DataError
from ren_core.region_encoder import RegionEncoder


class Thing:
    """Something that only pickle can store."""


@pytest.fixture
def head():
    torch.manual_seed(0)
    return RegionEncoder(32, num_heads=4, num_layers=2).eval()


def official(head, **changes):
    return {"epoch": 3, "iter_count": 7, "region_encoder_state": {**head.state_dict(), **changes}}


def tokens(head):
    features = torch.randn((1, head.dim, 3, 3), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return head(features, torch.tensor([[[1, 2], [8, 4]]]), 9).ren_tokens


@pytest.mark.data
def test_the_official_layout_loads(shared):
    head = load_region_encoder(shared / "conformance/ren/tiny_a.checkpoint.pth")
    reference = load_file(shared / "conformance/ren/tiny_a.safetensors")
    assert not head.training
    with torch.no_grad():
        output = head(reference["feature_maps"], reference["points_yx"], 56)
    torch.testing.assert_close(output.ren_tokens, reference["ren_tokens"], rtol=0, atol=1e-4)


def test_official_round_trip(head, tmp_path):
    torch.save(official(head), tmp_path / "c.pth")
    loaded = load_region_encoder(tmp_path / "c.pth")
    assert (loaded.num_heads, len(loaded.region_attention_layers)) == (4, 2)
    assert torch.equal(tokens(loaded), tokens(head))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0.0), (torch.float16, 2e-2)])
def test_own_format_round_trip(head, tmp_path, dtype, tolerance):
    path = tmp_path / "h.safetensors"
    save_region_encoder(path, head, {"encoder": "embedded", "grid_size": 5}, dtype=dtype)
    loaded = load_region_encoder(path, expected_dim=32)
    assert read_config(path) == {"encoder": "embedded", "grid_size": 5}
    assert next(loaded.parameters()).dtype == torch.float32
    torch.testing.assert_close(tokens(loaded), tokens(head), rtol=0, atol=tolerance)


def test_one_sentence_for_each_misfit(head, tmp_path):
    path = tmp_path / "c.pth"
    state = head.state_dict()

    with pytest.raises(DataError, match="no region encoder at"):
        load_region_encoder(path)

    torch.save(
        {"region_encoder_state": {k: v for k, v in state.items() if k != "out_norm.bias"}}, path
    )
    with pytest.raises(DataError, match=r"1 tensors missing \['out_norm.bias'\]"):
        load_region_encoder(path)

    torch.save(official(head, **{"out_proj.weight": torch.zeros(32, 31)}), path)
    with pytest.raises(DataError, match=r"out_proj.weight is \(32, 31\), expected \(32, 32\)"):
        load_region_encoder(path)

    torch.save(official(head), path)
    with pytest.raises(DataError, match="32 wide but the encoder gives 64-wide"):
        load_region_encoder(path, expected_dim=64)

    torch.save({**official(head), "extra": Thing()}, path)
    with pytest.raises(DataError, match="pickled Python objects"):
        load_region_encoder(path)

    torch.save(official(head, **{"prompt_proj.bias": torch.full((32,), float("nan"))}), path)
    with pytest.raises(DataError, match=r"prompt_proj\.bias holds NaN"):
        load_region_encoder(path)

    torch.save({"model": {}}, path)
    with pytest.raises(DataError, match="region_encoder_state"):
        load_region_encoder(path)

    torch.save({"region_encoder_state": {"weight": torch.zeros(1)}}, path)
    with pytest.raises(DataError, match="holds no REN region encoder"):
        load_region_encoder(path)

    path.write_bytes(b"not a file of tensors")
    with pytest.raises(DataError, match=r"c\.pth"):
        load_region_encoder(path)


def test_foreign_safetensors_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(DataError, match="not a region encoder of this project"):
        load_region_encoder(path)
    path.write_bytes(b"short")
    with pytest.raises(DataError, match="no readable safetensors"):
        load_region_encoder(path)
