"""Retrieval of frames whose right order is known."""

import pytest
import torch

from eval.reid.protocol import Place, ReidConfig, Video, evaluate_retrieval, frames_for, read_videos
from eval.reid.tokens import Comparison, PointTokens
from ren_core.errors import DataError
from tests.eval.reid.coloured_videos import (
    BLUE,
    GREEN,
    RED,
    colour_tokens,
    colours,
    picture,
    write_video,
)

POOLED, CENTRE = Comparison("colour", "pooled"), Comparison("colour", "centre")


@pytest.fixture
def videos(tmp_path):
    reds = [picture((RED, 8, 8 * i), (BLUE, 40, 80)) for i in range(6)]
    greens = [picture((GREEN, 8 * i, 16)) for i in range(6)]
    write_video(tmp_path, "red", reds, [(8, 8 * i) for i in range(5)] + [None])
    write_video(tmp_path, "green", greens, [(8 * i, 16) for i in range(6)])
    return read_videos(tmp_path)


def test_clear_colours_are_found_everywhere(videos):
    config = ReidConfig(gallery_step=1, query_frames=(1, 3, 99))
    rows = evaluate_retrieval(videos, colours, config, [POOLED, CENTRE])
    queries = [("green", 1), ("green", 3), ("red", 1), ("red", 3)]
    assert [(r.query, r.video, r.frame) for r in rows] == [
        (kind, *query) for kind in ("pooled", "centre") for query in queries
    ]
    for row in rows:
        assert (row.frame_ap, row.r_precision, row.auc, row.pointing) == (1, 1, 1, 1)


def test_tokens_that_say_nothing_score_by_chance(videos):
    def blind(image):
        found = colour_tokens(image)
        return {"colour": PointTokens(torch.ones_like(found.tokens), found.points_yx)}

    config = ReidConfig(gallery_step=1, query_frames=(0,))
    rows = evaluate_retrieval(videos, blind, config, [POOLED])
    assert len(rows) == 2
    assert all(row.auc == 0.5 for row in rows)
    assert all(row.frame_ap < 0.6 for row in rows)


def test_gallery_step_thins_the_gallery(videos):
    seen = []

    def counting(image):
        seen.append(image)
        return colours(image)

    config = ReidConfig(gallery_step=3, query_frames=(1,))
    evaluate_retrieval(videos, counting, config, [POOLED, CENTRE])
    assert len(seen) == 4 + 2  # frames 0 and 3 of both videos, and the queries; once for both


def test_own_frame_and_frames_without_the_object_are_not_in_the_gallery(videos):
    red = next(v for v in videos if v.name == "red")  # its sixth frame has an empty mask
    used, same = frames_for(Place(red, 0), [Place(v, i) for v in videos for i in (0, 5)])
    assert [v.name for v in videos] == ["green", "red"]
    assert used.tolist() == [True, True, False, False]
    assert same.tolist() == [False, False, True, True]


def test_queries_may_be_made_of_other_tokens(videos):
    def negative(image):
        found = colour_tokens(image)
        return {"colour": PointTokens(-found.tokens, found.points_yx)}

    config = ReidConfig(gallery_step=1, query_frames=(1,))
    rows = evaluate_retrieval(videos, colours, config, [CENTRE], tokenize_query=negative)
    assert all(row.pointing == 0 for row in rows)


def test_without_queries_there_are_no_rows(videos):
    config = ReidConfig(query_frames=(99,))
    assert evaluate_retrieval(videos, colours, config, [POOLED]) == []


def test_folder_must_hold_matching_frames_and_masks(tmp_path, videos):
    videos[0].masks[2].unlink()
    with pytest.raises(DataError, match="6 frames do not match 5 masks"):
        read_videos(tmp_path)
    with pytest.raises(DataError, match="--data"):
        read_videos(tmp_path / "nothing")
    gone = Video("gone", (tmp_path / "no.jpg",), (tmp_path / "no.png",))
    with pytest.raises(DataError, match=r"no\.png is missing"):
        evaluate_retrieval([gone], colours, ReidConfig(query_frames=(0,)), [POOLED])
