"""The one thing that all stages share: what is hunted, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vq2d.localize.chunks import Chunk
from vq2d.localize.query import ObjectTokens
from vq2d.types import FrameSource, Question


@dataclass(frozen=True, slots=True)
class Hunt:
    """One object that is looked for in one clip.

    Attributes:
        question: What is asked.
        target: What the object looks like.
        frames: The clip.
        chunks: The clip's tokens.
    """

    question: Question
    target: ObjectTokens
    frames: FrameSource
    chunks: Sequence[Chunk]
