"""The check for a GPU runs, on this processor, with small networks."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from tests.places import ROOT
from tools.gpu_check import main


@pytest.mark.timeout(120)
def test_every_figure_is_measured_and_the_tests_are_found(tmp_path):
    out = tmp_path / "figures.json"
    done = subprocess.run(
        [ROOT / "tools/gpu_check.sh", "--device", "cpu", "--small", "--out", out],
        env={**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for row in ("stage 1", "SAM 2 tracks", "GPU memory", "precision"):
        assert f"\n{row} " in done.stdout
    assert ("skipped" if not torch.cuda.is_available() else "passed") in done.stdout
    figures = json.loads(out.read_text())
    assert figures["crops_per_s"] > 0
    assert figures["bare_crops_per_s"] > 0
    assert figures["track_s_per_frame"] > 0
    assert figures["cosine"][1] > 0.99
    assert figures["gpu_gib"] is None
    assert "bfloat16" in figures["networks"]


def test_a_device_that_is_not_there_is_refused(capsys):
    assert main(["--device", "meta:9", "--small"]) == 2
    assert "cannot be used on this machine" in capsys.readouterr().err
