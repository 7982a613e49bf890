"""What the measure of promptable masks is made of: things of all sets, found points, methods."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from eval.masks.methods import PatchRegions, filled, gated, grabcut
from eval.masks.protocol import (
    MaskAnswer,
    Method,
    Point,
    PointPrompt,
    Prompt,
    Sight,
    Thing,
    thing_of_box,
    thing_of_mask,
)
from eval.reid.protocol import ReidConfig, gallery_places, read_videos
from pipelines.shared.cases import pointing_cases
from ren_core.errors import DataError
from ren_core.geometry import Boxes, box_to_mask
from ren_core.images import Image
from ren_core.mask_model import MaskModel
from ren_core.training.held_out import only_held_out
from ren_core.training.sources import yolo_source
from vq2d.ego4d.annotations import annotation_path, load_annotations
from vq2d.ego4d.clips import open_clip
from vq2d.job.answerer import answer_path
from vq2d.localize.localizer import question_of
from vq2d.localize.models import Models
from vq2d.localize.saved import load_localization
from vq2d.masking.base import Appearance, Place, PromptableSegmenter, Segment
from vq2d.masking.head import MaskSegmenter
from vq2d.masking.region import RegionSegmenter
from vq2d.masking.saliency import Saliency
from vq2d.types import FrameSource, VisualQuery

FRAME_STEP = 5  # of davis_dev
MIN_SIDE = 40  # px, of the boxes of its things
TRACK_FRAMES = 3  # of each query of a clip
CLIP_SETS = ("synvq_dev", "realvq_dev")

LoadModels = Callable[[], Models]
"""Gives the models of the preset, loaded at the first call."""

logger = logging.getLogger(__name__)


def read_things(name: str, data: Path, limit: int | None = None) -> list[Thing]:
    """The first ``limit`` things of a set; None: all of them.

    Args:
        name: One of ``SETS``.
        data: Folder of the shared data.
        limit: At least 1.

    Raises:
        DataError: If the set is not there or has no things.
    """
    things = list(islice(SETS[name](data), limit))
    if not things:
        raise DataError(f"{name} under {data} has no things; check the data folder")
    return things


def davis_things(root: Path) -> Iterator[Thing]:
    """The object of every fifth frame, with its mask."""
    videos = read_videos(root)
    for place in gallery_places(videos, ReidConfig(gallery_step=FRAME_STEP)):
        name = f"{place.video.name}/{place.video.frames[place.position].stem}"
        thing = thing_of_mask(name, place.video.name, place.image(), place.mask())
        if thing is not None:
            yield thing


def coco_things(root: Path) -> Iterator[Thing]:
    """The instances, not small, of the pictures that nothing here learns from."""
    held = only_held_out(yolo_source(root / "images" / "train2017", root / "labels" / "train2017"))
    for index, entry in enumerate(held.entries):
        read = held.read(index)
        for number, mask in zip(read.names, read.masks, strict=True):
            thing = thing_of_mask(f"{entry.group}/{number}", entry.group, read.image, mask)
            if thing is not None and (thing.box_xyxy[2:] - thing.box_xyxy[:2]).min() >= MIN_SIDE:
                yield thing


def clip_things(root: Path) -> Iterator[Thing]:
    """The true boxes of each query in three frames of its track."""
    for case in pointing_cases(root, TRACK_FRAMES, None):
        for number, (image, box) in enumerate(case.frames):
            thing = thing_of_box(f"{case.name}/{number}", case.name, image, box)
            if thing is not None:
                yield replace(thing, elsewhere=Sight(case.query_image, case.query_box_xyxy))


SETS: dict[str, Callable[[Path], Iterator[Thing]]] = {
    "davis_dev": lambda data: davis_things(data / "eval" / "davis_dev"),
    "coco_held": lambda data: coco_things(data / "train" / "coco128_seg"),
    "synvq_dev": lambda data: clip_things(data / "synvq_dev"),
    "realvq_dev": lambda data: clip_things(data / "realvq_dev"),
}


def found_prompts(root: Path, answers: Path, limit: int | None = None) -> list[Prompt]:
    """The points at which a run started its tracks, where the true track has that frame.

    Args:
        root: Folder of a set of clips.
        answers: Folder ``answers-...`` of the cache of the run.
        limit: Prompts; None: all.

    Raises:
        DataError: If it holds no answer to any query of the set that helps.
    """
    prompts = list(islice(_found_prompts(root, answers), limit))
    if not prompts:
        raise DataError(
            f"{answers} has no answers to {root.name} that start in a true track; give the folder "
            "answers-... that the run names in its log"
        )
    return prompts


def _found_prompts(root: Path, answers: Path) -> Iterator[Prompt]:
    missing = 0
    for clip in load_annotations(annotation_path(root, "val")).clips:
        frames = open_clip(root, clip)
        for query in clip.queries:
            path = answer_path(answers, frames, query)
            if path.is_file():
                yield from _found_prompt(query, frames, path)
            else:
                missing += 1
    if missing:
        logger.warning("%s: %s has no answer to %d queries", root.name, answers, missing)


def _found_prompt(query: VisualQuery, frames: FrameSource, path: Path) -> Iterator[Prompt]:
    """The found point in the frame where the track starts, if that frame is right."""
    seed, truth = load_localization(path).seed, query.response_in(frames.size_hw)
    if seed is None or truth is None or not truth.holds(seed.frame_idx):
        return
    box = truth.boxes_xyxy[seed.frame_idx - truth.start_frame]
    name = f"{query.key}/{seed.frame_idx}"
    thing = thing_of_box(name, str(query.key), frames[seed.frame_idx], box)
    if thing is not None:
        view = question_of(query, frames).views[0]
        seen = replace(thing, elsewhere=Sight(view.picture, view.box_xyxy))
        yield PointPrompt("found", seen, seed.point_xy)


def seeing_method(name: str, segmenter: PromptableSegmenter) -> Method:
    """A segmenter as a method that is told what each thing looks like elsewhere, as by a query.

    Args:
        name: In tables.
        segmenter: Answers.
    """

    def appearance(sight: Sight) -> Appearance:
        known = segmenter.from_box(sight.image, sight.box_xyxy)
        size_hw = (sight.image.shape[0], sight.image.shape[1])
        mask = box_to_mask(sight.box_xyxy, size_hw) if known is None else known.mask
        return segmenter.appearance_of([sight.image], [mask])

    def answer(prompt: PointPrompt) -> MaskAnswer | None:
        assert prompt.thing.elsewhere is not None
        look = appearance(prompt.thing.elsewhere)
        found = segmenter.from_point(prompt.thing.image, prompt.point_xy, appearance=look)
        return None if found is None else MaskAnswer(found.mask, found.box_xyxy)

    return Method(name, from_seen=lambda prompts: [answer(prompt) for prompt in prompts])


def segmenter_method(name: str, segmenter: PromptableSegmenter, *, expects: bool = False) -> Method:
    """A segmenter of the main job as a method.

    Args:
        name: In tables.
        segmenter: Answers.
        expects: Its scores are the IoU that it expects.
    """

    def answer(segment: Segment | None) -> MaskAnswer | None:
        if segment is None:
            return None
        return MaskAnswer(segment.mask, segment.box_xyxy, segment.score if expects else None)

    def from_boxes(images: Sequence[Image], boxes: Sequence[Boxes]) -> list[MaskAnswer | None]:
        return [answer(segment) for segment in segmenter.from_boxes(images, boxes)]

    def from_points(images: Sequence[Image], points: Sequence[Point]) -> list[MaskAnswer | None]:
        places = [Place(*pair) for pair in zip(images, points, strict=True)]
        return [answer(segment) for segment in segmenter.from_points(places)]

    return Method(name, from_boxes, from_points)


def head_methods(models: LoadModels, head: str) -> list[Method]:
    """A mask head as a method, alone and with a query; its name is that of its file.

    Args:
        models: Its REN compares what is drawn, and says how networks are computed.
        head: ``"embedded"``, or a file.
    """
    ren = models().encoder.ren
    segmenter = MaskSegmenter(ren, MaskModel.from_pretrained(head, ren.compute))
    name = f"head {Path(head).stem}"
    alone = segmenter_method(name, segmenter, expects=True)
    return [alone, seeing_method(f"{name}, query", segmenter)]


def _u2netp(models: LoadModels) -> Method:
    ren = models().encoder.ren
    segmenter = RegionSegmenter(ren, Saliency(engine=ren.compute.engine))
    return segmenter_method("u2netp", segmenter)


def _gated(models: LoadModels) -> Method:
    trusted = _u2netp(models).from_boxes
    assert trusted is not None
    return Method("gated", from_boxes=gated(trusted, grabcut))


def _patches(models: LoadModels) -> Method:
    return Method("patches", from_points=PatchRegions(models().encoder.ren))


METHODS: dict[str, Callable[[LoadModels], Method]] = {
    "filled": lambda _: Method("filled", from_boxes=filled),
    "patches": _patches,
    "u2netp": _u2netp,
    "grabcut": lambda _: Method("grabcut", from_boxes=grabcut),
    "gated": _gated,
}
"""By name; mask heads come beside them."""
