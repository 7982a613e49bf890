"""One question to all videos of a memory: it is searched like one clip that lies in many files.

Each video's vectors say which videos are worth a look; the five stages then run on these. What is
good enough is decided over all of them together, so that a video without the thing cannot win by
its own best.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

from pydantic import Field
from torch import Tensor

from ren_core.configuration import Count, Share, configuration
from ren_core.errors import DataError
from ren_core.geometry import Boxes
from ren_core.images import Image
from vq2d.localize.belief import doubt_about
from vq2d.localize.chunks import Chunk
from vq2d.localize.hunt import Hunt
from vq2d.localize.localizer import Localizer, Searched, adjoins
from vq2d.localize.presence import Evidence, evidence_of
from vq2d.localize.query import ObjectTokens
from vq2d.localize.refine import keep_good
from vq2d.localize.search import good_candidates
from vq2d.localize.track import choose
from vq2d.memory.catalogue import FRAMES_PER_SECOND, RememberedVideo
from vq2d.memory.store import Store
from vq2d.types import (
    Candidate,
    FrameScores,
    Localization,
    ObjectView,
    Question,
    ResponseTrack,
)
from vq2d.video.frames import CACHE_BYTES, VideoFrames, open_video
from vq2d.video.readers import ReaderName

Where = TypeVar("Where", "SearchedVideo", "Place")

logger = logging.getLogger(__name__)

OnFound = Callable[[RememberedVideo, Candidate], object]
"""Is told of a moment and a box in a video, before the track through them is known."""


@configuration(group="memory")
class AskConfig:
    """How far a memory is searched.

    Attributes:
        most_videos: Videos that are looked into, those with the most similar vectors.
        keep_ratio: Least similarity of a video's best vector, as a share of the best one of all.
        thorough_vectors: In a memory of more vectors than this, some eight hours, only the nearest
            lists of long videos are searched.
    """

    most_videos: Count = 8
    keep_ratio: Share = 0.8
    thorough_vectors: Annotated[int, Field(ge=0)] = 5_000_000


@dataclass(frozen=True, slots=True)
class MemoryQuestion:
    """An object that is looked for.

    Attributes:
        views: The object in one picture or several, at least one.
        origin: Fingerprint of the video and clip frame of the one view; that occurrence is no
            answer. None if the views are from elsewhere.
    """

    views: tuple[ObjectView, ...]
    origin: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class SearchedVideo:
    """One video whose vectors were searched; its file was not opened.

    Attributes:
        video: Which.
        question: As it is put to this video.
        chunks: What is kept of it.
        scores: Best region track of each searched frame.
        peaks: In temporal order.
        candidates: Those that are worth a look.
    """

    video: RememberedVideo
    question: Question
    chunks: Sequence[Chunk]
    scores: FrameScores
    peaks: tuple[Candidate, ...]
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """One video that is looked into.

    Attributes:
        video: Which.
        frames: Its frames.
        hunt: What is hunted in it.
        scores: Best region track of each searched frame.
        candidates: Refined ones, in temporal order.
        evidence: What speaks for the object's presence in the video.
    """

    video: RememberedVideo
    frames: VideoFrames
    hunt: Hunt
    scores: FrameScores
    candidates: tuple[Candidate, ...]
    evidence: Evidence | None


@dataclass(frozen=True, slots=True)
class Sighting:
    """The object in one video, from when it appears until it disappears.

    Attributes:
        video: Where it was seen.
        found: The track, and how it came about.
        frames: The video.
        believed: Whether the video is said to show it; if not, this is a guess.
    """

    video: RememberedVideo
    found: Localization
    frames: VideoFrames
    believed: bool

    @property
    def first_frame(self) -> int:
        """First frame of the track, at 5 frames per second from the start of the video."""
        return self._track.start_frame

    @property
    def end_frame(self) -> int:
        """One past the last frame of the track."""
        return self._track.end_frame

    @property
    def start_s(self) -> float:
        """Seconds from the start of the video to the first frame that shows it."""
        return self.first_frame / FRAMES_PER_SECOND

    @property
    def end_s(self) -> float:
        """Seconds from the start of the video to the end of the last frame that shows it."""
        return self.end_frame / FRAMES_PER_SECOND

    @property
    def last_seen_at(self) -> datetime:
        """The time of day at ``end_s``."""
        return self.video.recorded_at + timedelta(seconds=self.end_s)

    @property
    def boxes_xyxy(self) -> Boxes:
        """(T, 4) float32, pixels of the video as shown, one per frame at 5 frames per second."""
        return self._track.boxes_xyxy

    @property
    def score(self) -> float:
        """Likeness, for comparing sightings of one question."""
        return self._track.score

    @property
    def present(self) -> float | None:
        """Probability that the video shows the object; None if the configuration does not say."""
        return self.found.present

    def frame(self, i: int = -1) -> Image:
        """Frame ``i`` of the track, RGB; by default the last one."""
        return self.frames[self.first_frame + range(len(self.boxes_xyxy))[i]]

    @property
    def _track(self) -> ResponseTrack:
        assert self.found.track is not None
        return self.found.track


class Places:
    """Gives the videos of a memory as places to look into; each is opened once."""

    def __init__(
        self,
        store: Store,
        localizer: Localizer,
        *,
        reader: ReaderName = "av",
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Give places of a memory.

        Args:
            store: The memory.
            localizer: The models.
            reader: What decodes videos.
            cache_bytes: Of decoded frames that each opened video may keep.
        """
        self.store = store
        self.localizer = localizer
        self._reader: ReaderName = reader
        self._cache_bytes = cache_bytes
        self._opened: dict[str, VideoFrames] = {}

    def worth_a_look(
        self,
        videos: Sequence[RememberedVideo],
        ends: dict[str, int],
        vectors: Tensor,
        origin: str | None,
        config: AskConfig,
    ) -> list[RememberedVideo]:
        """Those of some videos that have vectors like the question's, in their order.

        Args:
            videos: All of the memory.
            ends: One past the last frame that may be searched, of each.
            vectors: (Q, D) unit vectors of the question.
            origin: The video of the question's picture, which is always looked into: its best
                vectors are those of the picture itself.
            config: How many.
        """
        size = sum(video.vectors for video in videos)
        thorough = size <= config.thorough_vectors
        best = {
            fingerprint: self.store.kept(fingerprint).best_similarity(
                vectors, end, thorough=thorough
            )
            for fingerprint, end in ends.items()
            if end > 0
        }
        own = {origin} & best.keys()
        others = sorted(best.keys() - own, key=lambda name: -best[name])[: config.most_videos]
        least = config.keep_ratio * max((best[name] for name in others), default=0.0)
        chosen = own | {name for name in others if best[name] >= least}
        return [video for video in videos if video.fingerprint in chosen]

    def search(
        self, video: RememberedVideo, question: MemoryQuestion, end: int, vectors: Tensor
    ) -> SearchedVideo:
        """The peaks of one video.

        Args:
            video: Which.
            question: What is asked.
            end: One past the last frame that may be searched.
            vectors: (Q, D) unit vectors of the question.
        """
        is_own = question.origin is not None and question.origin[0] == video.fingerprint
        crop_frame = question.origin[1] if question.origin is not None and is_own else None
        asked = Question(question.views, end, crop_frame)
        chunks = self.store.kept(video.fingerprint).chunks(self.store.held(video.fingerprint))
        scores, peaks = self.localizer.peaks(asked, chunks, vectors)
        return SearchedVideo(video, asked, chunks, scores, tuple(peaks), tuple(peaks))

    def look_into(self, searched: SearchedVideo, target: ObjectTokens) -> Place | None:
        """The video of some peaks, which become refined candidates; None without its file."""
        frames = self.frames_of(searched.video)
        if frames is None:
            return None
        hunt = Hunt(searched.question, target, frames, searched.chunks)
        refined = self.localizer.refine(hunt, searched.candidates, target.vectors)
        evidence = evidence_of(searched.peaks, refined)
        return Place(searched.video, frames, hunt, searched.scores, tuple(refined), evidence)

    def frames_of(self, video: RememberedVideo) -> VideoFrames | None:
        """The frames of a video; None, with a line in the log, without the file as it was."""
        if video.fingerprint not in self._opened:
            try:
                frames = open_video(video.path, reader=self._reader, cache_bytes=self._cache_bytes)
                if frames.fingerprint != video.fingerprint:
                    raise DataError(f"{video.path} has changed since it was remembered")
            except DataError as err:
                logger.warning("left out: %s; remember it again to have it searched", err)
                return None
            self._opened[video.fingerprint] = frames
        return self._opened[video.fingerprint]


def sightings(
    places: Places,
    question: MemoryQuestion,
    before: datetime | None,
    top: int,
    config: AskConfig,
    *,
    on_found: OnFound | None = None,
) -> Iterator[Sighting]:
    """The last sighting first; each is tracked when it is asked for."""
    given = 0
    for place in find(places, question, before, config):
        for found in _in_one(places.localizer, place, is_last=given == 0, on_found=on_found):
            assert found.track is not None
            believed = doubt_about(found, places.localizer.config) is None
            yield Sighting(place.video, found, place.frames, believed)
            given += 1
            if given == top:
                return


def find(
    places: Places, question: MemoryQuestion, before: datetime | None, config: AskConfig
) -> list[Place]:
    """Videos with good candidates, refined, the latest recording first; nothing is tracked.

    Args:
        places: The videos.
        question: What is asked.
        before: Only what was recorded before this time; None: all.
        config: How far is searched.
    """
    localizer = places.localizer
    target = localizer.target(question.views)
    videos = places.store.videos()
    ends = {video.fingerprint: _end(video, before) for video in videos}
    origin = None if question.origin is None else question.origin[0]
    searched = [
        places.search(video, question, ends[video.fingerprint], target.vectors)
        for video in places.worth_a_look(videos, ends, target.vectors, origin, config)
    ]
    peaks = [peak for one in searched for peak in one.candidates]
    good = _keeping(searched, good_candidates(peaks, localizer.config.search))
    looked = [place for one in good if (place := places.look_into(one, target)) is not None]
    refined = [candidate for place in looked for candidate in place.candidates]
    return _keeping(looked, keep_good(refined, localizer.config.refine))


def _end(video: RememberedVideo, before: datetime | None) -> int:
    """One past the last frame of a video that was recorded before a time."""
    if before is None:
        return video.num_frames
    seconds = (before - video.recorded_at).total_seconds()
    return min(video.num_frames, max(0, math.ceil(seconds * FRAMES_PER_SECOND)))


def _keeping(places: Sequence[Where], kept: Sequence[Candidate]) -> list[Where]:
    """Videos with those of their candidates that are kept; without those that have none."""
    good = {id(candidate) for candidate in kept}
    left = [
        replace(place, candidates=tuple(c for c in place.candidates if id(c) in good))
        for place in places
    ]
    return [place for place in left if place.candidates]


def _in_one(
    localizer: Localizer, place: Place, *, is_last: bool, on_found: OnFound | None
) -> Iterator[Localization]:
    """The sightings in one video, the last one first, without the question's own occurrence.

    Args:
        localizer: The models.
        place: The video, with refined candidates.
        is_last: Whether there was no later sighting: only then is it searched once more after it.
        on_found: Is told of each candidate that is going to be tracked.
    """
    left = place.candidates
    while left:
        seed = choose(keep_good(left, localizer.config.refine), localizer.config.track.first)
        if on_found is not None and seed is not None:
            on_found(place.video, seed)
        found = localizer.follow(
            place.hunt, Searched(place.scores, left, place.evidence), expand=is_last
        )
        if found.track is None:
            return
        if not adjoins(found.track, place.scores.own, place.scores.frame_idx):
            yield found
            is_last = False
        start = found.track.start_frame
        left = tuple(c for c in left if c.frame_idx < start)
