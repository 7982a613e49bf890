"""Training in two processes that average their gradients, as torchrun starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from ren_core.checkpoints import load_region_encoder
from ren_core.errors import StaleStageError
from ren_core.training.trainer import Worker
from tests.places import ROOT
from tests.training_cases import write_quarters
from tests.training_processes import CONFIG, LOSSES, configurations, train_one

CASES = sorted(configurations())


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """What two processes of ``tests.training_processes`` have left behind."""
    root = tmp_path_factory.mktemp("processes")
    write_quarters(root, 28)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "tests.training_processes", str(root), str(root)]
    processes = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | shared | {"TORCHELASTIC_RUN_ID": "test", "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=240)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return root


@pytest.fixture
def reports(out):
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_both_processes_have_the_same_weights_also_after_a_resume(reports, name):
    assert [report["world"] for report in reports] == [2, 2]
    assert len({digest for report in reports for digest in report["digests"][name]}) == 1


@pytest.mark.parametrize("name", [*LOSSES, "learned queries"])
def test_two_processes_do_what_one_does_with_twice_the_accumulation(out, tmp_path, name):
    torch.set_num_threads(1)
    one = replace(configurations()[name], accumulation=2)
    expected = train_one(one, tmp_path, Worker(torch.device("cpu"))).state_dict()
    found = torch.load(out / f"{name}-0.pt", weights_only=True)
    for key, tensor in expected.items():
        if key.endswith("k_norm.bias"):
            continue  # the softmax does not feel it: its gradient is rounding, which AdamW enlarges
        assert torch.allclose(found[key], tensor, atol=0.02 * CONFIG.learning_rate), key


def test_one_process_encodes_and_writes(out, reports):
    views = sum(report["encoded"] for report in reports)
    assert reports[0]["encoded"] == views > 0
    assert load_region_encoder(out / "job-0/head.safetensors").dim == 16
    assert not (out / "job-1").exists()


def test_a_run_of_two_processes_is_not_gone_on_with_by_one(out):
    with pytest.raises(StaleStageError, match="processes was 2, is 1"):
        train_one(configurations()["both"], out / "both" / "cut", Worker(torch.device("cpu")))
