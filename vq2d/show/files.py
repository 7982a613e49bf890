"""The pictures of one answer, drawn once: beside them is written what they were made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ren_core.code_identity import code_digest
from ren_core.stages import digest, write_json
from vq2d.job.task import Task
from vq2d.show.scene import draw_poster, draw_video
from vq2d.show.summary import draw_summary
from vq2d.show.view import AnswerView
from vq2d.types import VisualQuery

SUMMARY, POSTER, VIDEO = ".png", ".jpg", ".mp4"


@dataclass(frozen=True, slots=True)
class PictureSet:
    """The files of one answer.

    Attributes:
        stem: Path of the files without their endings.
        made_from: Digest of all that the pictures show; files made from anything else are redrawn.
    """

    stem: Path
    made_from: str

    def path(self, ending: str) -> Path | None:
        """The file with an ending, if it is there and up to date."""
        return self._path(ending) if ending in self._drawn() else None

    def draw(self, endings: tuple[str, ...], view: Callable[[], AnswerView]) -> None:
        """Draw the files that are not there.

        Args:
            endings: Which files are wanted.
            view: Gives what is drawn; not called if there is nothing to do.
        """
        drawn = self._drawn()
        missing = [ending for ending in endings if ending not in drawn]
        if not missing:
            return
        if not drawn:
            self.forget()
        shown = view()
        for ending in missing:
            _draw(shown, self._path(ending), ending)
            drawn.append(ending)
            write_json(self._record, {"made_from": self.made_from, "drawn": sorted(drawn)})

    def forget(self) -> None:
        """Remove the files, so that they are drawn again."""
        self._record.unlink(missing_ok=True)
        for ending in (SUMMARY, POSTER, VIDEO):
            self._path(ending).unlink(missing_ok=True)

    def _drawn(self) -> list[str]:
        """Endings of the files that are there and up to date."""
        try:
            record = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return []
        if record.get("made_from") != self.made_from:
            return []
        return [ending for ending in record.get("drawn", []) if self._path(ending).is_file()]

    def _path(self, ending: str) -> Path:
        return self.stem.with_name(self.stem.name + ending)

    @property
    def _record(self) -> Path:
        return self._path(".json")


def identity_of(task: Task, metrics: Mapping[str, float], title: str) -> str:
    """Digest of all that decides the pictures of an answer: clip, question, answer, truth, code."""
    answer = hashlib.sha256(task.path.read_bytes()).hexdigest()
    clip = task.path.parent.name  # its content's fingerprint
    code = code_digest(__name__)
    return digest([code, answer, clip, _plain(task.query), metrics, title], 16)


def _plain(query: VisualQuery) -> list[object]:
    truth = query.response
    return [
        str(query.key),
        query.query_frame,
        query.crop_frame,
        query.crop_box_xyxy.astype(float).tolist(),
        query.original_size_hw,
        None if truth is None else [truth.start_frame, truth.boxes_xyxy.astype(float).tolist()],
    ]


def _draw(view: AnswerView, path: Path, ending: str) -> None:
    if ending == SUMMARY:
        draw_summary(view, path)
    elif ending == POSTER:
        draw_poster(view, path)
    else:
        draw_video(view, path)
