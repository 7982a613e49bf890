"""Progress of a video that is being remembered, batch by batch."""

from __future__ import annotations

from collections.abc import Callable

from vq2d.localize.encode import ImageTokens, Loaded, TokenEncoder


class CountingEncoder(TokenEncoder):
    """The same encoder, which says after every batch how many frames it was.

    What it calls may take long, or raise: then no more is encoded.
    """

    def __init__(
        self,
        encoder: TokenEncoder,
        on_frames: Callable[[int], object],
        *,
        frames_per_image: float,
        num_frames: int,
    ) -> None:
        """Count what an encoder does.

        Args:
            encoder: Does the work.
            on_frames: Called with a number of clip frames, of which all together are num_frames.
            frames_per_image: Clip frames that one image stands for.
            num_frames: Clip frames of the video.
        """
        super().__init__(encoder.ren, encoder.config)
        self._encoder = encoder
        self._on_frames = on_frames
        self._frames_per_image = frames_per_image
        self._num_frames = num_frames
        self._images = 0
        self._told = 0
        self._ended = 0

    def start(self, loaded: Loaded) -> Callable[[], list[ImageTokens]]:
        """See ``TokenEncoder``."""
        take = self._encoder.start(loaded)

        def counted() -> list[ImageTokens]:
            found = take()
            self._images += len(found)
            self._tell(self._ended + round(self._images * self._frames_per_image))
            return found

        return counted

    def end_chunk(self, num_frames: int) -> None:
        """So many frames more are on disk, whether or not they were encoded just now."""
        self._ended += num_frames
        self._images = 0
        self._tell(self._ended)

    def _tell(self, reached: int) -> None:
        new = min(reached, self._num_frames) - self._told
        if new > 0:
            self._told += new
            self._on_frames(new)
