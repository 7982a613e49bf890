"""A comparison on disk, taken up again."""

import json

import pytest

from eval.cost.flops import FlopCount
from eval.cost.record import CostRecord
from eval.cost.sweep import CostPoint
from ren_core.errors import DataError
from tests.eval.cost.fakes import SAM_FACTS, measured_point


def record_of(path, settings=None, memory_mib=100.0):
    return CostRecord(path, settings or {"size": (3, 4)}, memory_mib, "in batches", {})


def test_a_record_is_on_disk_after_every_point(tmp_path):
    path = tmp_path / "cost.json"
    record = record_of(path)
    record.add_method(SAM_FACTS)
    record.add(measured_point("SAM", 2, 4.0))
    first = json.loads(path.read_text())
    assert [p["seconds"] for p in first["points"]] == [4.0]
    assert path.with_suffix(".png").exists()
    lost = CostPoint(method="SAM", per_side=4, status="out of memory", note="x")
    skipped = CostPoint(method="SAM", per_side=8, status="skipped", note="y")
    for point in (lost, skipped):
        record.add(point)
    record.add_flops(FlopCount(method="SAM", per_side=32, encoder_gflop=1.0, prompts_gflop=2.0))

    again = record_of(path)
    assert again.changed == []
    assert again.known("SAM") == {2: measured_point("SAM", 2, 4.0), 4: lost}
    assert again.known("other") == {}
    assert (again.methods, again.flops) == (record.methods, record.flops)
    before = path.stat().st_mtime_ns
    again.add(lost)
    assert path.stat().st_mtime_ns == before  # nothing new
    assert record_of(path, memory_mib=90.0).known("SAM") == {2: measured_point("SAM", 2, 4.0)}


def test_a_record_with_other_settings_does_not_count(tmp_path):
    path = tmp_path / "cost.json"
    record = record_of(path)
    record.add_method(SAM_FACTS)
    record.add(measured_point("SAM", 2, 4.0))
    other = record_of(path, {"size": (3, 5)})
    assert (other.changed, other.known("SAM"), other.methods) == (["size"], {}, {})
    for text in ("{", "[]"):
        path.write_text(text)
        with pytest.raises(DataError, match="choose another --out"):
            record_of(path)
