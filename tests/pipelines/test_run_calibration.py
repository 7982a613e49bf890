"""The calibration command runs on a little real data."""

import json

import pytest

from pipelines import run_calibration
from tests.pipelines.heads import write_head


@pytest.mark.data
def test_both_thresholds_are_measured_and_drawn(shared, tmp_path, small_encoder, capsys):
    head = write_head(tmp_path / "mine.safetensors")
    command = [*small_encoder, "--head", head, "--data", str(shared / "data")]
    command += ["--similarities", "0.9", "1", "--min-group", "2", "--query", "pooled"]
    command += ["--frames", "1", "--absent", "2", "--sets", "synvq_dev", "--out", str(tmp_path)]
    assert run_calibration.main(command) == 0
    result = json.loads((tmp_path / "calibration.json").read_text())
    assert result["config"]["query"] == "pooled"
    (found,) = result["sets"].values()
    assert [(p["kind"], p["similarity"]) for p in found["merging"]] == [
        ("patch", 0.9),
        ("patch", 1.0),
        ("ren:mine", 0.9),
        ("ren:mine", 1.0),
    ]
    assert [p["regions"] for p in found["merging"]][1::2] == [4, 25]
    own = [row for row in found["presence"] if row["kind"] == "patch"]
    queries = {row["name"] for row in own}
    assert sum(row["present"] for row in own) == len(queries)
    assert sum(not row["present"] for row in own) == 2 * len(queries)
    assert (tmp_path / "calibration.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "synvq_dev" in printed
    assert "precision" in printed


def test_mistakes_are_sentences(small_encoder, tmp_path, capsys):
    command = [*small_encoder, "--out", str(tmp_path), "--data", "nowhere"]
    assert run_calibration.main(command) == 2
    head = write_head(tmp_path / "h.safetensors")
    assert run_calibration.main([*command, "--head", head]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "--head" in lines[0]
    assert "--data" in lines[1]
