"""Rows of scored queries, made without files."""

from dataclasses import replace

from vq2d.scoring.metrics import QueryResult
from vq2d.types import QueryKey

PLAIN = QueryResult(
    key=QueryKey(0, 0, 0, "1"),
    clip_uid="c",
    score=0.5,
    t_iou=0.0,
    st_iou=0.0,
    success=False,
    recovered_frames=0,
    gt_frames=10,
    predicted_frames=0,
    gt_max_area=100.0,
    crop_area=100.0,
    size_fraction=0.15,
    frames_before_query=50.0,
    searched_frames=200.0,
)


def row(**changes):
    """A missed query of 10 frames, or another one."""
    return replace(PLAIN, **changes)


def rows_of(successes, *, per_clip=1, **changes):
    """Rows of single queries that are wholly found or wholly missed, some of each clip."""
    return [
        row(
            key=QueryKey(0, i // per_clip, 0, str(i)),
            clip_uid=f"c{i // per_clip}",
            t_iou=float(found),
            st_iou=float(found),
            success=bool(found),
            recovered_frames=10 * bool(found),
            **changes,
        )
        for i, found in enumerate(successes)
    ]
