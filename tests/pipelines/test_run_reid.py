"""The re-identification and whitening commands run on a little real data."""

import json

import numpy as np
import pytest

from eval.reid.sources import patch_source
from eval.reid.tokens import Comparison
from pipelines import fit_whitening, run_reid
from pipelines.shared import reid as token_rows
from pipelines.shared.cases import pointing_case, query_window
from ren_core.checkpoints import save_region_encoder
from ren_core.encoders import catalog
from ren_core.encoders.catalog import build_encoder
from ren_core.encoders.embedded import load_composite
from ren_core.errors import ConfigError, DataError
from ren_core.region_encoder import RegionEncoder
from vq2d.types import QueryKey, ResponseTrack, VisualQuery


def test_query_window_keeps_the_frames_shape_and_the_box():
    box = np.array([40, 20, 60, 30], np.float32)
    (x1, y1, x2, y2), inner = query_window(box, (100, 200))
    assert (x2 - x1) / (y2 - y1) == pytest.approx(2, abs=0.2)
    assert inner.tolist() == [40 - x1, 20 - y1, 60 - x1, 30 - y1]
    assert inner.min() >= 0
    at_corner, _ = query_window(np.array([190, 90, 220, 120], np.float32), (100, 200))
    assert at_corner[2:] == (200, 100)
    everything, _ = query_window(np.array([0, 0, 200, 100], np.float32), (100, 200))
    assert everything == (0, 0, 200, 100)


@pytest.fixture
def small_encoder(monkeypatch):
    def build(name, *, input_size):
        options = {"depth": 1, "embed_dim": 48, "num_heads": 3}
        return build_encoder(name, pretrained=False, input_size=input_size, options=options)

    monkeypatch.setattr(token_rows, "build_encoder", build)
    return ["--encoder", "dinov2-vits14", "--input-size", "28", "--grid", "5", "--limit", "1"]


def write_head(path, dim=48):
    save_region_encoder(path, RegionEncoder(dim, num_heads=4, num_layers=1), {})
    return str(path)


@pytest.mark.data
def test_one_run_measures_every_row_and_the_next_one_encodes_nothing(
    shared, tmp_path, small_encoder, capsys
):
    out = tmp_path / "reid.json"
    command = [*small_encoder, "--data", str(shared / "data"), "--frames", "1"]
    command += ["--gallery-step", "10", "--features", str(tmp_path / "features")]
    heads = [write_head(tmp_path / f"{name}.safetensors") for name in "ab"]
    assert run_reid.main([*command, "--head", *heads, "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    lines = {(line["kind"], line["query"]): line for line in result["figures"]}
    kinds = ["patch", "superpixel", "untrained", "start", "ren:a", "aligned:a", "joined:b"]
    assert {(kind, query) for kind in kinds for query in ("pooled", "centre")} < set(lines)
    assert ("patch", "mask") in lines
    assert len(lines) == 2 * 10 + 1
    wanted = {"frame_ap", "synvq_dev/hits", "realvq_dev/margin"}
    assert all(wanted <= set(line) for line in lines.values())
    assert len(result["rows"]["davis_dev"]) == 3 * len(lines)
    assert result["figures"][0]["auc"] is None  # one video: nothing to tell it from
    assert result["spec"]["input_size"] == 28
    assert result["encoded_now"] > 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + len(lines) + 1
    assert len({len(line) for line in printed[1:-1]}) == 1  # aligned columns

    few = ["--rows", "ren", "patch", "--query", "centre", "--sets", "synvq_dev"]
    assert run_reid.main([*command, "--head", heads[0], *few, "--out", str(out)]) == 0
    again = json.loads(out.read_text())
    assert again["encoded_now"] == 0
    assert [line["kind"] for line in again["figures"]] == ["patch", "ren:a"]
    assert set(again["rows"]) == {"synvq_dev"}
    key = ("ren:a", "centre")
    assert again["figures"][1]["synvq_dev/margin"] == lines[key]["synvq_dev/margin"]


def test_rows_that_cannot_be_are_usage_errors(small_encoder, tmp_path, capsys):
    command = [*small_encoder, "--data", str(tmp_path)]
    assert run_reid.main([*command, "--rows", "ren"]) == 2
    assert run_reid.main([*command, "--rows", "raw"]) == 2
    (tmp_path / "x").mkdir()
    heads = [write_head(tmp_path / name) for name in ("h.safetensors", "x/h.safetensors")]
    assert run_reid.main([*command, "--head", *heads]) == 2
    wide = write_head(tmp_path / "wide.safetensors", dim=32)
    assert run_reid.main([*command, "--head", wide]) == 1
    lines = capsys.readouterr().err.splitlines()
    for line, wanted in zip(
        lines, ("--head", "does not whiten", "share a name", "32"), strict=True
    ):
        assert wanted in line


def test_mask_alone_leaves_out_the_other_queries_of_patches():
    source = patch_source("patch")
    assert run_reid.comparisons_of([source], ("mask",), ("pooled",)) == [
        Comparison("patch", "mask")
    ]
    both = run_reid.comparisons_of([source], ("patch", "mask"), ("centre",))
    assert both == [Comparison("patch", "centre"), Comparison("patch", "mask")]


def test_means_leave_out_what_is_undefined():
    rows = [{"kind": "a", "query": "centre", "hits": h, "margin": float("nan")} for h in (0.0, 1.0)]
    rows[0]["margin"] = 0.25
    (line,) = run_reid.summary({"synvq_dev": rows})
    assert (line["synvq_dev/hits"], line["synvq_dev/margin"]) == (0.5, 0.25)
    assert np.isnan(run_reid.mean(rows[1:], "margin"))
    assert token_rows.table([]) == "nothing was compared"


class NumberedFrames:
    """Frames of 20 pixels that show their number."""

    size_hw = (20, 20)

    def __len__(self):
        return 30

    def __getitem__(self, frame_idx):
        return np.full((20, 20, 3), frame_idx, np.uint8)


def test_frames_without_the_object_lie_between_track_and_question():
    query = VisualQuery(
        key=QueryKey(0, 0, 0, "1"),
        query_frame=20,
        crop_frame=2,
        crop_box_xyxy=np.array([20, 20, 26, 26], np.float32),
        original_size_hw=(40, 40),
        response=ResponseTrack(5, np.tile(np.array([4, 4, 8, 8], np.float32), (5, 1)), 1.0),
    )
    case = pointing_case(query, NumberedFrames(), 3, 2)
    assert case.query_image.max() == 2
    assert case.query_mask().sum() == 3 * 3
    assert [int(image.max()) for image, _ in case.frames] == [6, 7, 8]
    assert [int(image.max()) for image in case.absent] == [13, 16]
    assert case.frames[0][1].tolist() == [2, 2, 4, 4]


def test_missing_data_and_wrong_size_are_sentences(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(token_rows, "build_encoder", lambda *_, **__: _fail(DataError("no data")))
    assert run_reid.main(["--data", str(tmp_path)]) == 1
    monkeypatch.setattr(token_rows, "build_encoder", lambda *_, **__: _fail(ConfigError("size")))
    assert run_reid.main(["--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "no data\nsize\n"


def _fail(error):
    raise error


def test_parts_are_parsed():
    part = fit_whitening.parse_part("mobilenet.13:64:0.7")
    assert (str(part.source), part.dim, part.weight) == ("mobilenet.13", 64, 0.7)
    with pytest.raises(ConfigError, match=r"'vit\.13'"):
        fit_whitening.parse_part("vit.13")


@pytest.mark.data
def test_whitening_is_fitted_and_written(shared, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_whitening, "load_embedded", lambda *_, **__: None)  # random weights
    out = tmp_path / "whitening.safetensors"
    command = ["--data", str(shared / "data" / "train"), "--every", "200", "--input-size", "28"]
    command += ["--parts", "vit.1:16:1.0", "mobilenet.3:8:0.5", "--out", str(out)]
    assert fit_whitening.main(command) == 0
    shapes = {str(s): tuple(w.projection.shape) for s, w in load_composite(out).items()}
    assert shapes == {"vit.1": (384, 16), "mobilenet.3": (24, 8)}
    monkeypatch.setattr(catalog, "load_embedded", lambda *_, **__: None)
    encoder = token_rows.build_composite(out, input_size=28)
    assert (encoder.spec.name, encoder.spec.dim) == ("whitening", 24)
    assert fit_whitening.main([*command, "--data", str(tmp_path)]) == 1
    assert fit_whitening.main([*command, "--parts", "vit"]) == 2
