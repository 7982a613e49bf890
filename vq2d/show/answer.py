"""All that is drawn of one answer, and its card on a page."""

from __future__ import annotations

from pathlib import Path

from vq2d.show.page import Card
from vq2d.show.scene import draw_poster, draw_video
from vq2d.show.summary import draw_summary
from vq2d.show.view import AnswerView


def draw_answer(view: AnswerView, stem: Path, *, doubt: str = "") -> Card:
    """Summary, poster and video of an answer whose truth is not known.

    Args:
        view: Has a track.
        stem: Path of the files without their ends.
        doubt: Why the answer is only a guess, one line; empty if it is none.
    """
    assert view.track is not None
    summary, poster, video = (stem.with_name(stem.name + end) for end in (".png", ".jpg", ".mp4"))
    draw_summary(view, summary)
    draw_poster(view, poster)
    draw_video(view, video)
    return Card(
        title=view.title,
        status="unknown",
        summary=summary,
        poster=poster,
        video=video,
        score=view.track.score,
        reason=doubt,
    )
