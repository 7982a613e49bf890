"""What is kept is what would be computed: code, device and settings name it, speed does not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from ren_core import stages
from ren_core.code_identity import PACKAGES, code_digest
from ren_core.errors import ConfigError
from tests.clips import BLUE, FRAMES, RED, clip_json, frame, query_set, write_annotations
from tests.job import CONFIG, make_answerer, run
from tests.places import ROOT
from tests.synthetic import write_video
from vq2d.job.answerer import Answerer, ClipFiles


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ego")
    sets = {"1": query_set(RED, 4, 28, (15, 21)), "2": query_set(BLUE, 2, 28, (9, 14))}
    write_annotations(folder, [clip_json("one", sets)])
    (folder / "v2/clips").mkdir()
    write_video(folder / "v2/clips/one.mp4", [frame(i) for i in range(FRAMES)])
    return folder


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Lets stages take the digests of a copy of the code, in which a file can be edited."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / "code" / package, ignore=shutil.ignore_patterns("assets")
        )
    roots = {package: tmp_path / "code" / package for package in PACKAGES}
    monkeypatch.setattr(stages, "code_digest", lambda module: code_digest(module, roots=roots))

    def edit(path, old, new):
        file = tmp_path / "code" / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return edit


def folders(root, cache):
    answerer = make_answerer(root, cache)
    return answerer.tokens_dir.name, answerer.answers_dir.name


def test_a_changed_line_makes_what_follows_it_anew_and_a_comment_nothing(root, tmp_path, edited):
    tokens, answers = folders(root, tmp_path)
    refine = "vq2d/localize/refine.py"
    edited(refine, '"""Stage 3:', '# a comment\n"""Step 3:')
    assert folders(root, tmp_path) == (tokens, answers)
    edited(refine, "np.where(inside, similarity, -2.0)", "np.where(inside, similarity, -3.0)")
    assert folders(root, tmp_path)[0] == tokens
    assert folders(root, tmp_path)[1] != answers
    edited("ren_core/geometry.py", "import numpy as np", "import numpy as np\nEDITED = 1")
    assert folders(root, tmp_path)[0] != tokens


def test_tokens_of_older_code_are_kept_on_purpose(root, tmp_path, edited):
    run(root, tmp_path / "cache", tmp_path / "out")
    old = make_answerer(root, tmp_path / "cache").tokens_dir
    edited("vq2d/localize/tokens.py", "end = min(", "end = 0 + min(")
    code = json.loads((old / "stage.json").read_text())["code"]
    answerer = make_answerer(root, tmp_path / "cache")
    kept = Answerer(
        ClipFiles(root), answerer.localizer, cache=tmp_path / "cache", keep_tokens_of=code
    )
    assert answerer.tokens_dir != old
    assert kept.tokens_dir == old
    with pytest.raises(ConfigError, match=f"there are some by .*{code}"):
        Answerer(
            ClipFiles(root), answerer.localizer, cache=tmp_path / "cache", keep_tokens_of="0123"
        )


def test_device_precision_and_engine_are_named_and_batches_are_not(root, tmp_path):
    first = make_answerer(root, tmp_path)
    smaller = replace(CONFIG, tokens=replace(CONFIG.tokens, batch_crops=5))
    same = make_answerer(root, tmp_path, smaller)
    assert (same.tokens_dir, same.answers_dir) == (first.tokens_dir, first.answers_dir)
    for change in (
        {"device": torch.device("cuda")},
        {"dtype": torch.bfloat16},
        {"compiled": True},
        {"engine": "openvino"},
    ):
        localizer = make_answerer(root, tmp_path).localizer
        ren = localizer.models.encoder.ren
        ren.compute = replace(ren.compute, **change)
        other = Answerer(ClipFiles(root), localizer, cache=tmp_path)
        assert other.tokens_dir != first.tokens_dir
        assert other.answers_dir != first.answers_dir


def test_batch_size_and_threads_move_nothing_that_matters(root, tmp_path):
    def answers(name, batch_crops, threads):
        torch.set_num_threads(threads)
        config = replace(CONFIG, tokens=replace(CONFIG.tokens, batch_crops=batch_crops))
        return run(root, tmp_path / name, tmp_path / name, config).answers

    for one, other in zip(answers("a", 20, 2), answers("b", 5, 1), strict=True):
        found, again = one.found, other.found
        assert [c.frame_idx for c in found.candidates] == [c.frame_idx for c in again.candidates]
        assert found.track.start_frame == again.track.start_frame
        np.testing.assert_allclose(found.track.boxes_xyxy, again.track.boxes_xyxy, atol=0.5)


TOGETHER = """
import sys
from pathlib import Path
from tests.job import run
root, cache, out = map(Path, sys.argv[1:])
report = run(root, cache, out)
assert not report.troubles, report.troubles
"""


def test_two_processes_share_one_cache(root, tmp_path):
    command = [sys.executable, "-c", TOGETHER, str(root), str(tmp_path / "cache")]
    both = [
        subprocess.Popen([*command, str(tmp_path / name)], cwd=ROOT, stderr=subprocess.PIPE)
        for name in ("a", "b")
    ]
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    files = [(tmp_path / name / "submission.json").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]
    assert len(list((tmp_path / "cache").glob("tokens-*"))) == 1
    assert not list((tmp_path / "cache").rglob("*.partial"))
