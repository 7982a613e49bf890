"""The ``paper`` and ``release`` presets end to end: SAM 2 and official-form weights, all random.

Answers of random weights mean nothing; that every stage accepts what the one before it gives, that
a submission comes out and that it is the same again, is what these tests show.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from ren_core.sam2.model import Sam2Model
from ren_core.stages import to_plain
from tests.clips import FRAMES, RED, clip_json, frame, query_set, write_annotations
from tests.job import make_runner
from tests.synthetic import write_video
from tests.tiny import tiny_ren
from vq2d.ego4d.validation import validate
from vq2d.job.answerer import Answerer, ClipFiles
from vq2d.job.outputs import write_submission
from vq2d.localize.encode import TokenEncoder
from vq2d.localize.localizer import Localizer
from vq2d.localize.models import Models
from vq2d.localize.presets import PRESETS
from vq2d.masking.appearance import pooled_appearances
from vq2d.masking.sam2 import Sam2Segmenter
from vq2d.masking.sam2_video import Sam2Tracker


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ego")
    # the picture lies after the query frame: to random weights all frames look like one occurrence
    clips = [clip_json("one", {"1": query_set(RED, FRAMES - 1, FRAMES - 3, (15, 21))})]
    write_annotations(folder, clips)
    (folder / "v2/clips").mkdir()
    write_video(folder / "v2/clips/one.mp4", [frame(i) for i in range(FRAMES)])
    return folder


@pytest.fixture(scope="module")
def sam2():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Sam2Model.random("sam2.1_hiera_t", 0, device="cpu", image_size=64)
    torch.set_num_threads(threads)


def runner_of(config, sam2, root, cache):
    ren = tiny_ren(aggregate=config.aggregate)
    encoder = TokenEncoder(ren, config.encode)
    segmenter = Sam2Segmenter(sam2, partial(pooled_appearances, ren))
    localizer = Localizer(Models(encoder, segmenter, Sam2Tracker(sam2)), config)
    answerer = Answerer(ClipFiles(root), localizer, cache=cache)
    return make_runner(root, cache, answerer=answerer)


@pytest.mark.parametrize("name", ["paper", "release"])
def test_sam2_presets_run_to_a_valid_submission(name, sam2, root, tmp_path):
    preset = PRESETS[name]
    # every value of the preset but those that only make it slow
    config = replace(
        preset,
        query=replace(preset.query, crop_factors=(1.0, 2.0)),
        search=replace(preset.search, top_k=2),
        refine=replace(preset.refine, crop_factors=(1.0, 2.0)),
        track=replace(preset.track, max_frames=3),
        expand=replace(preset.expand, max_frames=1),
    )
    runner = runner_of(config, sam2, root, tmp_path / "cache")
    report = runner.run()
    assert not report.troubles
    submission = write_submission(runner.annotations, report.answers, tmp_path)
    problems = validate(submission, json.loads(runner.annotations.path.read_text()))
    assert not [p for p in problems if p.severity == "error"]
    answer = submission["results"]["videos"][0]["clips"][0]["predictions"][0]["query_sets"]["1"]
    assert answer["bboxes"]
    assert to_plain(config)["masking"] == "sam2"

    again = runner_of(config, sam2, root, tmp_path / "cache")
    second = again.run()
    assert second.images_encoded == 0
    assert write_submission(again.annotations, second.answers, tmp_path / "b") == submission
