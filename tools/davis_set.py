"""Turn DAVIS sequences (frames and masks) into a set in VQ2D's form, with its ``absent.json``.

    python -m tools.davis_set --davis ../shared/data/eval/davis_dev --out runs/davis_dev

It is made to tell present from absent things on real footage, not for official figures. A sequence
shows its object in every frame, but a fair query needs the object to leave: its picture comes from
one occurrence, the answer is another one, and at the query the object is out of sight. So a clip
shows two sequences in turn, A B A B: first the first third of each, then the last third of each.

- The query about A has its picture in the first part, its track in the third, and is asked at the
  end of the clip.
- The query about B has its picture in the last part, its track in the second, and is asked at the
  end of the third. (Pictures after the query are common in Ego4D, too.)

Each sequence is A of one clip and B of another. The sequences show ten different things (the two
cars are a grey and a white one of other makes, the two dogs are of other breeds), so a clip lacks
all but its two, and no thing is the twin of another. Every frame of the folder is one at 5 fps;
DAVIS has 24, and the folder every second one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ren_core.errors import DataError
from ren_core.geometry import mask_to_box
from tools.absent_lists import asked_titles, write_list
from tools.tours.annotate import Question, SeenFrame, Sight
from tools.tours.ego4d_json import ClipFacts, annotation_file, video_entry
from tools.tours.video import Picture, write_video

TITLES = {
    "blackswan": "black swan",
    "breakdance": "dancer in red",
    "camel": "camel",
    "car-roundabout": "grey car",
    "car-shadow": "white car",
    "dog": "white dog",
    "horsejump-high": "horse with rider",
    "libby": "small dog",
    "parkour": "running man",
    "soapbox": "soapbox car",
}
"""The sequences that are used, in the order of the clips, and what they are asked about."""

PARTS = 3
"""A clip shows the first and the last of so many equal parts of a sequence."""
CRF = 20
DESCRIPTION = "DAVIS 2016 sequences, two to a clip, in the VQ2D layout; not Ego4D data"


@dataclass(frozen=True, slots=True)
class Shot:
    """Consecutive frames of a sequence.

    Attributes:
        name: The sequence.
        frames: Picture files.
        masks: Files of the object's masks, one per frame.
    """

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]

    def pictures(self) -> Iterator[Picture]:
        """The frames (H, W, 3), RGB."""
        for path in self.frames:
            yield cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def seen(self) -> list[SeenFrame]:
        """The object in every frame, by its title.

        Raises:
            DataError: If it is in one of them not to be seen.
        """
        seen = []
        for path in self.masks:
            mask = _read(path, cv2.IMREAD_GRAYSCALE) > 0
            box = mask_to_box(mask)
            if box is None:
                raise DataError(f"{path} is empty; leave the sequence {self.name} out")
            x1, y1, x2, y2 = (int(side) for side in box)
            sight = Sight((x1, y1, x2, y2), int(mask.sum()), 1.0)
            seen.append(SeenFrame(0.0, {TITLES[self.name]: sight}))
        return seen


def _read(path: Path, flag: int) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), flag)
    if image is None:
        raise DataError(f"{path} cannot be read; fetch it again")
    return image


def read_shots(davis: Path, name: str) -> tuple[Shot, Shot]:
    """The first and the last part of a sequence.

    Raises:
        DataError: If frames and masks are not of the same numbers.
    """
    frames = sorted((davis / "frames" / name).glob("*.jpg"))
    masks = sorted((davis / "masks" / name).glob("*.png"))
    if len(frames) < PARTS or [f.stem for f in frames] != [m.stem for m in masks]:
        raise DataError(
            f"{davis} has {len(frames)} frames and {len(masks)} masks of {name}, expected at least "
            f"{PARTS} with a mask each; fetch it again"
        )
    size = len(frames) // PARTS
    return (
        Shot(name, tuple(frames[:size]), tuple(masks[:size])),
        Shot(name, tuple(frames[-size:]), tuple(masks[-size:])),
    )


def plan_clip(
    first: tuple[Shot, Shot], second: tuple[Shot, Shot]
) -> tuple[list[Shot], list[Question]]:
    """The shots of a clip of two sequences, and its two queries."""
    shots = [first[0], second[0], first[1], second[1]]
    ends = np.cumsum([len(shot.frames) for shot in shots]).tolist()
    starts = [0, *ends[:-1]]
    middles = [(start + end) // 2 for start, end in zip(starts, ends, strict=True)]
    return shots, [
        Question(TITLES[first[0].name], ends[3] - 1, middles[0], range(starts[2], ends[2])),
        Question(TITLES[second[0].name], ends[2] - 1, middles[3], range(starts[1], ends[1])),
    ]


def make_set(davis: Path, out: Path, names: Sequence[str] = tuple(TITLES)) -> None:
    """Write clips, annotations with and without answers, and ``absent.json``."""
    clips, annotations = out / "v2" / "clips", out / "v2" / "annotations"
    for folder in (clips, annotations):
        folder.mkdir(parents=True, exist_ok=True)
    parts = {name: read_shots(davis, name) for name in names}
    shown: dict[str, list[str]] = {}
    entries: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for first, second in zip(names, [*names[1:], names[0]], strict=True):
        shots, questions = plan_clip(parts[first], parts[second])
        seen = [frame for shot in shots for frame in shot.seen()]
        size_hw = next(shots[0].pictures()).shape[:2]
        facts = ClipFacts(f"davis-{first}-{second}", 0, len(seen), (size_hw[0], size_hw[1]))
        uid = facts.uid("clip")
        pictures = (picture for shot in shots for picture in shot.pictures())
        write_video(clips / f"{uid}.mp4", pictures, facts.size_hw, fps=5, crf=CRF)
        shown[uid] = [first, second]
        for answers, videos in entries.items():
            videos.append(video_entry(facts, questions, seen, answers=answers))

    for answers, file in ((True, "vq_val.json"), (False, "vq_test_unannotated.json")):
        document = {**annotation_file(entries[answers]), "description": DESCRIPTION}
        (annotations / file).write_text(json.dumps(document) + "\n")
    name_of = {title: name for name, title in TITLES.items()}
    queries = {key: name_of[title] for key, _, title in asked_titles({"videos": entries[True]})}
    how = "each clip shows two sequences, by tools/davis_set.py; looked at by eye"
    write_list(out / "absent.json", {"how": how, "clips": shown, "queries": queries, "twins": []})


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make a VQ2D set of DAVIS sequences.")
    parser.add_argument("--davis", type=Path, required=True, help="folder of frames and masks")
    parser.add_argument("--out", type=Path, required=True, help="folder of the set")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Make the set."""
    args = build_parser().parse_args(argv)
    make_set(args.davis, args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
