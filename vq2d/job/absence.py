"""Which clips of a set do not show the thing that a query asks for.

That is known from a file ``absent.json``::

    {"how": "where this is known from",
     "clips": {clip_uid: [identity, ...]},
     "queries": {"v0-c0-a0-q1": identity},
     "twins": [[identity, identity]]}

A clip lists every thing that it shows or may show; what it does not list is surely not in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ren_core.errors import DataError
from ren_core.stages import digest
from vq2d.ego4d.annotations import Annotations, Clip
from vq2d.ego4d.documents import Document, load_document
from vq2d.scoring.presence import Kind
from vq2d.types import VisualQuery

FORM = (
    'expected {"clips": {clip_uid: [identity, ...]}, "queries": {"v0-c0-a0-q1": identity}, '
    '"twins": [[identity, identity], ...]}; write it with tools/absent_lists.py'
)


@dataclass(frozen=True, slots=True)
class Absence:
    """What the clips of a set show.

    Attributes:
        path: Where that was read.
        shown: The identities of all things that a clip shows or may show, by clip uid.
        asked: The identity of the thing that a query asks for, by ``str(QueryKey)``.
        twins: Pairs of identities that differ in one respect.
    """

    path: Path
    shown: Mapping[str, frozenset[str]]
    asked: Mapping[str, str]
    twins: frozenset[frozenset[str]]

    def kind_of(self, identity: str, clip_uid: str) -> Kind:
        """What a clip shows of a thing: itself, only a twin of it, or neither."""
        shown = self.shown[clip_uid]
        if identity in shown:
            return "present"
        return "twin" if any({identity, other} in self.twins for other in shown) else "other"


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a clip that it is asked of.

    Attributes:
        query: The query.
        home: The query's own clip, which has its picture.
        clip: The clip that it is asked of.
        kind: What that clip shows.
    """

    query: VisualQuery
    home: Clip
    clip: Clip
    kind: Kind

    def __str__(self) -> str:
        return f"query {self.query.key} of clip {self.clip.clip_uid}"


def load_absence(path: Path) -> Absence:
    """Read an ``absent.json``.

    Raises:
        DataError: If the file is missing or has another form.
    """
    raw = load_document(path)
    clips, queries, twins = _part(raw, "clips", path), _part(raw, "queries", path), raw.get("twins")
    if not isinstance(twins, list):
        raise DataError(f'{path}: "twins" is {twins!r:.60}; {FORM}')
    for what, names in [*clips.items(), *((f"twins[{i}]", pair) for i, pair in enumerate(twins))]:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{path}: {what} is {names!r:.60}, not a list of names; {FORM}")
    for i, pair in enumerate(twins):
        if len(set(pair)) != 2:
            raise DataError(f"{path}: twins[{i}] is {pair!r:.60}, not two different names; {FORM}")
    for key, identity in queries.items():
        if not isinstance(identity, str):
            raise DataError(f"{path}: query {key} has {identity!r:.60}, not a name; {FORM}")
    return Absence(
        path=path,
        shown={uid: frozenset(names) for uid, names in clips.items()},
        asked=queries,
        twins=frozenset(frozenset(pair) for pair in twins),
    )


def _part(raw: Document, name: str, path: Path) -> dict[str, Any]:
    value = raw.get(name)
    if not isinstance(value, dict):
        raise DataError(f'{path}: "{name}" is {value!r:.60}, not an object; {FORM}')
    return value


def absent_pairs(absence: Absence, annotations: Annotations) -> list[Pair]:
    """Every listed query with every listed clip that does not show its thing, in file order.

    Raises:
        DataError: If a listed clip or query is not in the annotations, or a query's own clip does
            not show its thing.
    """
    clips = _listed_clips(absence, annotations)
    pairs = []
    for query, home in _listed_queries(absence, annotations):
        thing = absence.asked[str(query.key)]
        for uid, clip in clips.items():
            kind = absence.kind_of(thing, uid)
            if kind != "present":
                pairs.append(Pair(query, home, clip, kind))
    return pairs


def present_pairs(absence: Absence, annotations: Annotations) -> list[Pair]:
    """Every listed query with its own clip; raises as ``absent_pairs`` does."""
    return [
        Pair(query, home, home, "present") for query, home in _listed_queries(absence, annotations)
    ]


def choose(pairs: Sequence[Pair], most: int) -> list[Pair]:
    """At most so many pairs per query, those with a twin first; always the same ones."""

    def rank(pair: Pair) -> tuple[str, bool, str]:
        key = str(pair.query.key)
        return key, pair.kind != "twin", digest([key, pair.clip.clip_uid])

    groups = itertools.groupby(sorted(pairs, key=rank), key=lambda pair: pair.query.key)
    return [pair for _, group in groups for pair in itertools.islice(group, most)]


def _listed_clips(absence: Absence, annotations: Annotations) -> dict[str, Clip]:
    known = {clip.clip_uid: clip for clip in annotations.clips}
    _check_known(absence, absence.shown, [uid for uid in known if uid], "clip")
    return {uid: known[uid] for uid in absence.shown}


def _listed_queries(
    absence: Absence, annotations: Annotations
) -> Iterator[tuple[VisualQuery, Clip]]:
    """The readable queries that the file lists, each with its clip."""
    all_keys = [str(query.key) for query in annotations.query_sets]
    _check_known(absence, absence.asked, all_keys, "query")
    for clip in annotations.clips:
        for query in clip.queries:
            thing = absence.asked.get(str(query.key))
            if thing is None:
                continue
            if thing not in absence.shown.get(str(clip.clip_uid), ()):
                raise DataError(
                    f"{absence.path}: query {query.key} asks for {thing!r}, which its own clip "
                    f"{clip.clip_uid} does not list; add it there, or leave the query out"
                )
            yield query, clip


def _check_known(
    absence: Absence, listed: Mapping[str, object], known: Sequence[str], what: str
) -> None:
    unknown = sorted(listed.keys() - set(known))
    if unknown:
        raise DataError(
            f"{absence.path}: {what} {unknown[0]} (one of {len(unknown)}) is not in the "
            "annotations; give the file of this set and split"
        )
