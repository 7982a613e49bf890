"""The videos of a memory as pictures and files for a browser."""

from __future__ import annotations

import io
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from PIL import Image as PillowImage

from ren_core.errors import DataError
from ren_core.images import Image
from vq2d.memory.catalogue import FRAMES_PER_SECOND, RememberedVideo
from vq2d.memory.store import Store
from vq2d.video.frames import VideoFrames, open_video
from vq2d.video.proxy import browser_type, write_webm

logger = logging.getLogger(__name__)

MOST_OPEN = 4
CACHE_BYTES = 48 << 20
THUMBNAIL_SIDE = 320
"""Longer side, in pixels."""
QUALITY = 92

State = Literal["ready", "making", "failed"]


@dataclass(frozen=True, slots=True)
class PlayableFile:
    """A file that a browser plays.

    Attributes:
        state: Whether it is there.
        path: Of the file, if it is.
        media_type: Of the file.
        seconds_into_frame: From n / 5 s to the middle of what the file shows at that time.
    """

    state: State
    path: Path | None
    media_type: str
    seconds_into_frame: float


@dataclass(frozen=True, slots=True)
class _Reel:
    """An open video; one thread reads it at a time."""

    frames: VideoFrames
    stamp: tuple[Path, int, int]
    lock: threading.Lock = field(default_factory=threading.Lock)


class Reels:
    """Opens videos, at most a few at once; made for many threads."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._open: OrderedDict[str, _Reel] = OrderedDict()
        self._lock = threading.Lock()
        self._makers = ThreadPoolExecutor(1, thread_name_prefix="proxy")
        self._is_closed = threading.Event()
        self._making: dict[str, Future[None]] = {}

    def video(self, name: str) -> RememberedVideo | None:
        """The video of a fingerprint, if the memory holds it."""
        return next((v for v in self.store.videos() if v.fingerprint == name), None)

    def frames(self, video: RememberedVideo) -> VideoFrames:
        """The frames of a video, for its size and its index; read them with ``still``.

        Raises:
            DataError: If its file is not there any more, or is another one now.
        """
        return self._reel(video).frames

    def still(self, video: RememberedVideo, frame_idx: int) -> Image:
        """A frame (H, W, 3), RGB; ``IndexError`` outside the video.

        Raises:
            DataError: If the file is not there any more, or cannot be decoded.
        """
        reel = self._reel(video)
        with reel.lock:
            return reel.frames[frame_idx]

    def thumbnail(self, video: RememberedVideo) -> bytes:
        """A small JPEG of the frame in its middle, made once."""
        path = self.store.folder_of(video.fingerprint) / "thumbnail.jpg"
        if not path.is_file():
            picture = jpeg(self.still(video, video.num_frames // 2), THUMBNAIL_SIDE)
            self._keep(video, path, lambda temporary: temporary.write_bytes(picture))
            return picture
        return path.read_bytes()

    def playable(self, video: RememberedVideo) -> PlayableFile:
        """What a browser plays of a video; a copy is begun if it needs one."""
        frames = self.frames(video)
        kind = browser_type(frames.timeline)
        if kind is not None:
            rate = max(frames.timeline.average_rate, FRAMES_PER_SECOND)
            return PlayableFile("ready", frames.path, kind, 0.5 / rate)
        path, into = self._proxy_path(video), 0.5 / FRAMES_PER_SECOND
        if path.is_file():
            return PlayableFile("ready", path, "video/webm", into)
        return PlayableFile(self._begun(video), None, "video/webm", into)

    def close(self) -> None:
        """Break off what is being made."""
        self._is_closed.set()
        self._makers.shutdown(wait=False, cancel_futures=True)

    def _proxy_path(self, video: RememberedVideo) -> Path:
        return self.store.folder_of(video.fingerprint) / "proxy.webm"

    def _begun(self, video: RememberedVideo) -> State:
        """Make sure that a copy is being made; whether that has failed."""
        with self._lock:
            known = self._making.get(video.fingerprint)
            if known is None:
                known = self._makers.submit(self._make_proxy, video)
                self._making[video.fingerprint] = known
        has_failed = known.done() and known.exception() is not None
        return "failed" if has_failed else "making"

    def _make_proxy(self, video: RememberedVideo) -> None:
        logger.info("a copy of %s for browsers is made", video.path)
        frames = open_video(video.path, cache_bytes=CACHE_BYTES)

        def write(temporary: Path) -> None:
            write_webm(temporary, self._until_closed(frames), fps=FRAMES_PER_SECOND)

        try:
            self._keep(video, self._proxy_path(video), write)
        except Exception:
            if not self._is_closed.is_set():
                logger.exception("no copy of %s for browsers could be made", video.path)
            raise

    def _until_closed(self, frames: VideoFrames) -> Iterator[Image]:
        for image in frames:
            if self._is_closed.is_set():
                raise DataError("the page was closed before the copy was made")
            yield image

    def _keep(self, video: RememberedVideo, target: Path, write: Callable[[Path], object]) -> None:
        """Write a file of a video elsewhere and rename it; not if the video is gone by then."""
        name = f"{video.fingerprint}-{threading.get_ident()}.{target.name}.partial"
        temporary = self.store.making / name
        try:
            write(temporary)
            with suppress(FileNotFoundError):
                temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def _reel(self, video: RememberedVideo) -> _Reel:
        """The open video; opened anew if its file has changed."""
        stamp = _stamp(video)
        with self._lock:
            reel = self._open.get(video.fingerprint)
            if reel is None or reel.stamp != stamp:
                reel = _Reel(_opened(video), stamp)
                self._open[video.fingerprint] = reel
            self._open.move_to_end(video.fingerprint)
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
            return reel


def jpeg(image: Image, longer_side: int | None = None) -> bytes:
    """A picture (H, W, 3) as JPEG, shrunk if it is larger than wanted."""
    picture = PillowImage.fromarray(image)
    if longer_side is not None:
        picture.thumbnail((longer_side, longer_side))
    with io.BytesIO() as file:
        picture.save(file, "JPEG", quality=QUALITY, subsampling=0)
        return file.getvalue()


def _stamp(video: RememberedVideo) -> tuple[Path, int, int]:
    try:
        status = video.path.stat()
    except OSError as err:
        raise DataError(
            f"{video.path} is not there any more; if it was moved, remember it at its new place"
        ) from err
    return video.path, status.st_mtime_ns, status.st_size


def _opened(video: RememberedVideo) -> VideoFrames:
    frames = open_video(video.path, cache_bytes=CACHE_BYTES)
    if frames.fingerprint != video.fingerprint:
        raise DataError(f"{video.path} has changed since it was remembered; remember it again")
    return frames
