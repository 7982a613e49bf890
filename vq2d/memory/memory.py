"""Many videos in one memory: what each shows is made once, and asked many times."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from ren_core.configuration import changed
from ren_core.engine.choice import Compute
from ren_core.errors import ConfigError
from ren_core.executor.compute import ComputeWish
from ren_core.stages import content, digest
from vq2d.localize.build import build_localizer
from vq2d.localize.localizer import Localizer
from vq2d.localize.presets import VQ2DConfig, preset
from vq2d.localize.projection import Projection, shipped_projection, whole_space
from vq2d.localize.tokens import clip_tokens, open_tokens, token_settings
from vq2d.memory.answers import answer, answer_name
from vq2d.memory.ask import AskConfig, MemoryQuestion, OnFound, Places, Sighting
from vq2d.memory.catalogue import RememberedVideo
from vq2d.memory.kept import ChunkBounds, pack
from vq2d.memory.steps import CountingEncoder
from vq2d.memory.store import MemorySettings, Store
from vq2d.video.crops import frame_crops
from vq2d.video.frames import VideoFrames, open_video
from vq2d.video.readers import ReaderName

logger = logging.getLogger(__name__)

JOINING = {"tokens.join.enabled": True, "tokens.chunk_frames": 128}
"""What a memory changes in a preset: it keeps region tracks, in long stretches."""

DECODED_BYTES = 1 << 30
"""Of decoded frames of all the videos that one question looks into."""


def remembering(config: VQ2DConfig) -> VQ2DConfig:
    """A preset as a memory uses it."""
    return changed(config, JOINING)


class Memory:
    """A folder of remembered videos, and the models that remember and answer."""

    def __init__(self, store: Store, localizer: Localizer, *, reader: ReaderName = "av") -> None:
        """Join a store and models that belong together.

        Args:
            store: The folder.
            localizer: Of a configuration by ``remembering``.
            reader: What decodes videos.

        Raises:
            ConfigError: If the memory was made with another model.
        """
        model = model_digest(localizer)
        if store.settings.model != model:
            raise ConfigError(
                f"{store.folder} was made with another model (preset {store.settings.model_name}): "
                "ask it with that preset and the same values of its token settings, or remember "
                "the videos anew in another folder"
            )
        self.store = store
        self.localizer = localizer
        self.reader: ReaderName = reader

    @classmethod
    def open(
        cls,
        folder: str | Path,
        preset_name: str | None = None,
        *,
        changes: Sequence[str] = (),
        compute: Compute | None = None,
    ) -> Memory:
        """The memory in a folder, made if there is none.

        Args:
            folder: On a local disk; a new one is readable by its owner only.
            preset_name: Whose models are loaded; None: those that the memory was made with, or
                ``"embedded"``.
            changes: Of the preset, as ``"KEY=VALUE"``.
            compute: What runs the networks; None: what fits the machine.

        Raises:
            ConfigError: If a value is wrong, the folder holds other things, or the memory was made
                with another model.
            DataError: If weights are missing or the folder cannot be read.
        """
        if preset_name is None:
            is_there = Store.is_in(Path(folder))
            preset_name = Store(Path(folder)).settings.model_name if is_there else "embedded"
        config = remembering(preset(preset_name, changes))
        localizer = build_localizer(
            config, compute or ComputeWish(suits_openvino=config.suits_openvino).fulfilled()
        )
        return cls(open_store(Path(folder), localizer, preset_name), localizer)

    @property
    def identity(self) -> Mapping[str, str]:
        """What processes that make videos of one memory must agree on."""
        return {
            "networks": self.localizer.networks,
            "model": self.store.settings.model,
            "tokens": self._tokens_dir().name,
        }

    def videos(self) -> list[RememberedVideo]:
        """All videos, the latest recording first."""
        return self.store.videos()

    def add(
        self,
        path: str | Path,
        on_frames: Callable[[int], object] = lambda _: None,
        *,
        wait: bool = True,
    ) -> RememberedVideo | None:
        """Remember a video file; nothing is computed for one that is known.

        Args:
            path: The file.
            on_frames: Called with the number of frames (5 per second) after each batch of them; if
                it raises, the video is not remembered, and what was made goes on another time.
            wait: Wait for another process that is making the same video.

        Returns:
            The video; None if another process is making it, or it is too old to be kept.

        Raises:
            DataError: If the file is no readable video.
        """
        path = Path(path).expanduser().absolute()
        video = self.make(path, on_frames, wait=wait)
        return None if video is None else self.enter(video, path)

    def make(
        self, path: Path, on_frames: Callable[[int], object], *, wait: bool
    ) -> RememberedVideo | None:
        """The folder of a video, made if it is not there; the catalogue is left alone.

        See ``add``; many machines may make videos of one memory at the same time.

        Args:
            path: The file, absolute.
            on_frames: As in ``add``.
            wait: As in ``add``.
        """
        frames = open_video(path, reader=self.reader)
        video = self._described(frames)
        if self._is_too_old(video):
            return None
        with self.store.making_of(video.fingerprint, wait=wait) as is_mine:
            if not is_mine:
                return None
            if self.store.folder_of(video.fingerprint).exists():
                on_frames(video.num_frames)
                return self.store.read_video(video.fingerprint)
            return self._make(frames, video, on_frames)

    def enter(self, video: RememberedVideo, path: Path) -> RememberedVideo:
        """Let the catalogue know a video that was made, at the place of its file.

        Args:
            video: What ``make`` gave, in this process or another.
            path: The file, absolute.
        """
        catalogue = self.store.catalogue
        known = {v.fingerprint: v for v in catalogue.videos()}
        if video.fingerprint in known:
            video = known[video.fingerprint]
        else:
            catalogue.put([video])
        if video.path != path:
            self.store.moved(video, path)
        self._drop_older(path, video.fingerprint)
        return video

    def ask(
        self,
        question: MemoryQuestion,
        before: datetime | None = None,
        top: int = 5,
        *,
        config: AskConfig | None = None,
        on_found: OnFound | None = None,
    ) -> Iterator[Sighting]:
        """Where the thing was seen, the last sighting first; each is found when it is asked for.

        Args:
            question: What is asked.
            before: Only what was recorded before this time; None: all.
            top: Sightings at most.
            config: How far is searched; None: the defaults.
            on_found: Is told of each moment and box as soon as it is known, before the track
                through it is; of nothing if the answer is read from disk.
        """
        self.store.sync()
        config = config or AskConfig()
        share = DECODED_BYTES // (config.most_videos + 1)  # that of the question may come on top
        places = Places(self.store, self.localizer, reader=self.reader, cache_bytes=share)
        return answer(places, question, before, top, config, on_found=on_found)

    def answer_name(self, question: MemoryQuestion, top: int = 5) -> str:
        """Under which name the answer to a question, with no other options, is kept."""
        self.store.sync()
        places = Places(self.store, self.localizer, reader=self.reader)
        return answer_name(places, question, None, top, AskConfig())

    def _described(self, frames: VideoFrames) -> RememberedVideo:
        """What is known of a video before it is remembered."""
        recorded = frames.timeline.recorded_at
        changed_s = frames.path.stat().st_mtime
        return RememberedVideo(
            fingerprint=frames.fingerprint,
            path=frames.path,
            recorded_at=recorded or datetime.fromtimestamp(changed_s, timezone.utc),
            recorded_from="file" if recorded is None else "metadata",
            num_frames=len(frames),
            size_hw=frames.size_hw,
            vectors=0,
            bytes=0,
            made_by=self._tokens_dir().name,
            added_at=datetime.now(timezone.utc),
        )

    def _is_too_old(self, video: RememberedVideo) -> bool:
        limit = self.store.settings.forget_after_s
        age = datetime.now(timezone.utc) - video.recorded_at
        return limit is not None and age.total_seconds() > limit

    def _make(
        self, frames: VideoFrames, video: RememberedVideo, on_frames: Callable[[int], object]
    ) -> RememberedVideo:
        """Region tracks of a video, chunk by chunk on disk, then packed."""
        tokens = self.localizer.config.tokens
        windows = frame_crops(frames.size_hw, tokens.crop_factors)
        encoder = CountingEncoder(
            self.localizer.models.encoder,
            on_frames,
            frames_per_image=tokens.frame_stride / len(windows),
            num_frames=len(frames),
        )
        chunks = clip_tokens(
            frames,
            encoder,
            tokens,
            directory=self._tokens_dir() / frames.fingerprint,
            num_frames=len(frames),
            on_frames=encoder.end_chunk,
        )

        def write(folder: Path) -> list[ChunkBounds]:
            return pack(chunks, self.store.projection, folder)

        held = [i for chunk in chunks for i in chunk.held]
        kept = self.store.keep(video, held, write)
        self.store.clear_making(frames.fingerprint)
        return kept

    def _tokens_dir(self) -> Path:
        config = self.localizer.config.tokens
        return open_tokens(self.store.making, self.localizer.models.encoder, config)

    def _drop_older(self, path: Path, fingerprint: str) -> None:
        """Remove what was kept of a file before it changed."""
        older = [v for v in self.store.videos() if v.path == path and v.fingerprint != fingerprint]
        if older:
            self.store.remove([video.fingerprint for video in older])


def open_store(folder: Path, localizer: Localizer, model_name: str) -> Store:
    """The store in a folder, made for a model if there is none."""
    model = model_digest(localizer)
    settings = MemorySettings(model=model, model_name=model_name)
    return Store.create(folder, settings, lambda: projection_for(localizer))


def projection_for(localizer: Localizer) -> Projection:
    """The projection that ships with a model; all of its dimensions where there is none."""
    model = model_digest(localizer)
    shipped = shipped_projection(model)
    if shipped is not None:
        return shipped
    logger.warning(
        "no projection ships with this model, so vectors keep all their dimensions; "
        "pipelines/fit_projection.py makes one"
    )
    grey, corner = np.full((32, 32, 3), 128, np.uint8), np.zeros((1, 2), np.float32)
    vector = localizer.models.encoder.at_points([grey], [corner])
    return whole_space(vector.shape[1], model)


def model_digest(localizer: Localizer) -> str:
    """Identity of what decides the vectors of a memory, but for engine, precision and code."""
    encoder, tokens = localizer.models.encoder, localizer.config.tokens
    plain = replace(tokens, chunk_frames=tokens.frame_stride)  # lays out files
    settings = content(token_settings(encoder, plain))
    del settings["tokens"]["directions"]  # of tokens that are not joined
    return digest([settings, encoder.ren.fingerprint])
