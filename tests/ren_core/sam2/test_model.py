"""SAM 2's networks and weights: the true architecture, seeded random weights, 128 px."""

from __future__ import annotations

import threading

import hydra
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from ren_core import weight_files, weights
from ren_core.errors import ConfigError, DataError
from ren_core.sam2 import model as sam2_model
from ren_core.sam2.model import Sam2Model
from tests.patterns import noise_with_square

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGE = noise_with_square(7)
BOX = np.array([30, 16, 74, 50], np.float32)


@pytest.fixture(scope="module")
def model():
    return Sam2Model.random("sam2.1_hiera_t", 0, device="cpu", image_size=128)


@pytest.mark.parametrize("builder", ["build_sam2", "build_sam2_video_predictor"])
def test_masks_are_those_of_the_official_image_and_video_networks(model, builder):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_module("sam2", version_base="1.2"):
        from sam2 import build_sam

        official = getattr(build_sam, builder)(
            "configs/sam2.1/sam2.1_hiera_t.yaml",
            device="cpu",
            hydra_overrides_extra=["++model.image_size=128"],
        )
    official.load_state_dict(model.network.state_dict(), strict=True)
    results = []
    for network in (official, model.network):
        predictor = Sam2Model("", network, torch.float32).image_predictor(0.0)
        predictor.set_image(IMAGE)
        results.append(predictor.predict(box=BOX, multimask_output=False, return_logits=True))
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generator_alone(model):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    twin = Sam2Model.random("sam2.1_hiera_t", 0, device="cpu", image_size=128)
    assert torch.equal(torch.rand(3), expected)
    other = Sam2Model.random("sam2.1_hiera_t", 1, device="cpu", image_size=128)
    key = "sam_mask_decoder.iou_token.weight"
    assert torch.equal(twin.network.state_dict()[key], model.network.state_dict()[key])
    assert not torch.equal(other.network.state_dict()[key], model.network.state_dict()[key])
    assert not twin.network.training


def test_hydra_is_left_as_it_was_found(model):
    GlobalHydra.instance().clear()
    sam2_model.build_network("sam2.1_hiera_t", 128)
    assert not GlobalHydra.instance().is_initialized()
    with hydra.initialize_config_module("sam2", version_base="1.2"):
        sam2_model.build_network("sam2.1_hiera_t", 128)
        assert GlobalHydra.instance().is_initialized()


def test_a_checkpoint_is_found_in_the_cache_and_loaded(model, tmp_path, monkeypatch):
    monkeypatch.setenv("REN_CACHE", str(tmp_path))
    torch.save({"model": model.network.state_dict()}, tmp_path / "copy.pt")
    weight_files.fetch(weights.find("sam2.1-hiera-tiny"), local=tmp_path / "copy.pt")
    loaded = Sam2Model.from_checkpoint(
        "sam2.1_hiera_t", device="cpu", dtype=torch.bfloat16, image_size=128
    )
    assert (loaded.name, loaded.dtype, loaded.image_size) == ("sam2.1_hiera_t", torch.bfloat16, 128)
    expected = model.network.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in loaded.network.state_dict().items())
    explicit = Sam2Model.from_checkpoint(
        "sam2.1_hiera_t", tmp_path / "sam2.1_hiera_tiny.pt", device="cpu"
    )
    assert (explicit.dtype, explicit.image_size) == (torch.float32, 1024)


def test_a_missing_checkpoint_names_the_command_that_fetches_it(tmp_path, monkeypatch):
    monkeypatch.setenv("REN_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=r"are not in .*vq2d fetch-weights sam2.1-hiera-large"):
        Sam2Model.from_checkpoint(device="cpu")
    with pytest.raises(DataError, match=r"other.pt with the weights of .* is missing"):
        sam2_model.find_checkpoint("sam2.1_hiera_b+", tmp_path / "other.pt")


def test_only_a_checkpoint_that_was_checked_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("REN_CACHE", str(tmp_path / "cache"))
    name, file = "sam2.1_hiera_t", weights.find("sam2.1-hiera-tiny")
    stored = weight_files.stored_path(file)
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"weights")
    with pytest.raises(DataError, match=r"was not fetched by this program.*--file .*takes it in"):
        sam2_model.find_checkpoint(name)
    weight_files.fetch(file, local=stored)
    assert sam2_model.find_checkpoint(name) == stored
    stored.write_bytes(b"w3ights")
    with pytest.raises(DataError, match=r"has sha256 .* instead of"):
        sam2_model.find_checkpoint(name)


def test_checkpoints_that_do_not_fit_are_explained(model):
    state = dict(model.network.state_dict())

    def refused(content, message, name="sam2.1_hiera_t"):
        network = model.network if name == model.name else sam2_model.build_network(name, 64)
        with pytest.raises(DataError, match=f"does not fit {name}: {message}"):
            sam2_model.load_strictly(network, content, name)

    refused(state, r"\d+ missing \(such as image_encoder", "sam2.1_hiera_s")
    without = {k: v for k, v in state.items() if k != "no_mem_embed"}
    refused(without, r"1 missing \(such as no_mem_embed\)")
    refused({**state, "stray": torch.zeros(1)}, r"1 unexpected \(such as stray\)")
    reshaped = {**state, "no_mem_embed": torch.zeros(2)}
    refused(reshaped, r"1 wrong shape \(such as no_mem_embed\)")


def test_damaged_and_foreign_files_are_explained(tmp_path):
    path = tmp_path / "file.pt"
    torch.save({"weights": {}}, path)
    with pytest.raises(DataError, match="no 'model' entry"):
        sam2_model.read_checkpoint(path)
    torch.save({"model": threading.Thread}, path)  # code, which must not run
    with pytest.raises(DataError, match="cannot be read as weights"):
        sam2_model.read_checkpoint(path)
    torch.save({"model": {"a": torch.zeros(999)}}, path)
    for damaged in (path.read_bytes()[:900], b"not a checkpoint", b""):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read as weights"):
            sam2_model.read_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "sam2.1_hiera_x"}, "SAM 2 model must be one of"),
        ({"dtype": torch.float64}, "dtype must be"),
        ({"image_size": 100}, "image_size must be a multiple of 32"),
    ],
)
def test_settings_that_sam2_does_not_have_are_refused(change, message):
    settings = {"name": "sam2.1_hiera_t", "seed": 0, "device": "cpu", **change}
    with pytest.raises(ConfigError, match=message):
        Sam2Model.random(**settings)


@pytest.mark.parametrize("name", ["sam2.1_hiera_s", "sam2.1_hiera_b+"])
def test_other_sizes_are_built(name):
    network = sam2_model.build_network(name, 64)
    assert network.image_size == 64
