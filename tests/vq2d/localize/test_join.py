"""Region tracks: what is alike and near is one, over crops and over time; nothing is lost."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest

from vq2d.localize.join import FrameTokens, JoinConfig, join_tokens
from vq2d.localize.merge import merge_in_frame

CONFIG = JoinConfig(enabled=True)
RNG = np.random.default_rng(0)
A, B, C = np.linalg.qr(RNG.normal(size=(16, 3)))[0].T.astype(np.float32)


def near(vector, amount=0.1, seed=0):
    """A unit vector about ``1 - amount**2 / 2`` alike to another."""
    noise = np.random.default_rng(seed).normal(size=vector.shape)
    noise -= (noise @ vector) * vector
    moved = vector + amount * noise / np.linalg.norm(noise)
    return (moved / np.linalg.norm(moved)).astype(np.float32)


def join(rows, config=CONFIG, side=100):
    """Region tracks of (frame, vector, (x, y)) rows, in the order of their frames."""
    found = []
    for frame, of_frame in groupby(rows, lambda row: row[0]):
        _, vectors, points = zip(*of_frame, strict=True)
        found.append(FrameTokens(frame, np.stack(vectors), np.array(points, np.float32)))
    return join_tokens(found, side, config)


class TestInAFrame:
    def test_alike_and_near_tokens_are_one_and_others_are_not(self):
        vectors = np.stack([A, near(A), B, near(A, seed=2)])
        points = np.array([[10, 10], [20, 10], [12, 10], [90, 10]], np.float32)
        merged = merge_in_frame(vectors, points, near=20, similarity=0.8)
        assert merged.counts.tolist() == [2, 1, 1]
        assert np.linalg.norm(merged.vectors, axis=1) == pytest.approx(1)
        assert merged.vectors[0] @ A > 0.99
        assert merged.points_xy[0].tolist() in ([10, 10], [20, 10])

    def test_the_point_is_that_of_the_token_nearest_to_their_middle(self):
        vectors = np.stack([A, near(A, 0.5, 1), near(A, 0.1, 2)])
        points = np.array([[1, 1], [6, 5], [9, 9]], np.float32)
        merged = merge_in_frame(vectors, points, near=20, similarity=0.8)
        assert merged.points_xy.tolist() == [[6, 5]]


class TestOverTime:
    def test_a_thing_that_stays_is_one_track_with_a_sight_in_every_frame(self):
        tracks = join([(2 * k, near(A, 0.1, k), (10 + 5 * k, 50)) for k in range(6)])
        assert set(tracks.track) == {0}
        assert tracks.frame_idx.tolist() == [0, 2, 4, 6, 8, 10]
        assert tracks.points_xy[:, 0].tolist() == [10, 15, 20, 25, 30, 35]
        assert tracks.vectors[0] @ A > 0.99

    def test_two_alike_things_at_two_places_stay_two(self):
        rows = [
            (k, near(A, 0.1, 10 * k + s), (x, 50)) for k in range(4) for s, x in ((1, 10), (2, 90))
        ]
        tracks = join(rows)
        assert tracks.track.tolist() == [0, 1] * 4

    def test_links_are_one_to_one_and_the_best_is_taken(self):
        rows = [(0, A, (50, 50)), (1, near(A, 0.6, 1), (45, 50)), (1, near(A, 0.05, 2), (55, 50))]
        tracks = join(rows, JoinConfig(enabled=True, similarity=0.99, link=0.5))
        assert len(tracks.frame_idx) == 3
        at = {tuple(p): t for p, t in zip(tracks.points_xy.tolist(), tracks.track, strict=True)}
        assert at[55.0, 50.0] == at[50.0, 50.0] != at[45.0, 50.0]

    @pytest.mark.parametrize(("missed", "tracks"), [(1, 1), (2, 1), (3, 2)])
    def test_a_gap_of_some_frames_is_bridged(self, missed, tracks):
        rows = [(0, A, (50, 50)), *((k + 1, B, (10, 10)) for k in range(missed))]
        rows.append((missed + 1, A, (52, 50)))
        found = join(rows, JoinConfig(enabled=True, gap=2))
        a = {t for t, p in zip(found.track, found.points_xy, strict=True) if p[0] >= 50}
        assert len(a) == tracks

    def test_what_is_far_or_unlike_starts_a_track_of_its_own(self):
        assert set(join([(0, A, (10, 50)), (1, A, (80, 50))]).track) == {0, 1}
        assert set(join([(0, A, (10, 50)), (1, B, (10, 50))]).track) == {0, 1}


def turning(count):
    """Sights of a thing that slowly turns away, as rows."""
    return [(k, near(A, 0.15 * k, 3), (50, 50)) for k in range(count)]


def remembered(tracks):
    """(M, D) what each sight looked like, as far as its track remembers."""
    first = np.unique(tracks.owner, return_index=True)[1]
    last = len(tracks.vectors) - 1
    rows = np.minimum(first[tracks.track][:, None] + np.arange(4), last)
    return (tracks.mix[:, :, None] * tracks.vectors[rows]).sum(axis=1)


class TestWhatIsKept:
    def test_the_mean_first_and_what_differs_after_it(self):
        rows = turning(12)
        tracks = join(rows)
        assert tracks.owner.tolist() == [0] * 3  # what differs most is its end or its beginning
        vectors = np.stack([vector for _, vector, _ in rows])
        mean = vectors.mean(axis=0)
        assert tracks.vectors[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
        likeness = vectors @ tracks.vectors[1:].T
        assert {0, 11} <= set(likeness.argmax(axis=0))  # the first and the last
        assert likeness.max(axis=0) == pytest.approx(1)

    def test_the_mean_weighs_what_more_tokens_show(self):
        seen_once, seen_thrice = near(A, 0.4, 1), near(A, 0.4, 2)
        rows = [(0, seen_once, (50, 50)), *[(1, seen_thrice, (50, 50))] * 3]
        mean = join(rows).vectors[0]
        assert mean @ seen_thrice > mean @ seen_once + 0.02

    def test_equal_sights_keep_one_vector(self):
        tracks = join([(k, A, (50, 50)) for k in range(12)])
        assert len(tracks.vectors) == 1
        assert remembered(tracks) == pytest.approx(np.tile(A, (12, 1)), abs=2e-3)

    def test_short_tracks_keep_their_mean_alone(self):
        assert len(join(turning(3)).vectors) == 1

    @pytest.mark.parametrize("keep", [1, 2, 3])
    def test_at_most_so_many_are_kept(self, keep):
        assert len(join(turning(12), JoinConfig(enabled=True, keep=keep)).vectors) == keep

    def test_a_track_remembers_what_each_sight_looked_like(self):
        rows = turning(12)
        tracks = join(rows)
        seen = np.stack([vector for _, vector, _ in rows])
        assert (remembered(tracks) * seen).sum(axis=1).min() > 0.97
        assert (tracks.vectors[0] @ seen.T).min() < 0.85  # its mean alone would not

    def test_every_frame_keeps_a_sight_and_sights_are_in_order(self):
        rows = [(k // 3, near((A, B, C)[k % 3], 0.2, k), (30 * (k % 3), 5)) for k in range(60)]
        tracks = join(rows)
        assert set(tracks.frame_idx) == set(range(20))
        assert (np.diff(tracks.frame_idx) >= 0).all()
        assert (np.diff(tracks.owner) >= 0).all()
        assert len(tracks.vectors) <= 12

    def test_a_frame_without_tokens_is_one_without_sights(self):
        nothing = FrameTokens(1, np.zeros((0, 16), np.float32), np.zeros((0, 2), np.float32))
        seen = [FrameTokens(k, A[None], np.float32([[5, 5]])) for k in (0, 2)]
        tracks = join_tokens([seen[0], nothing, seen[1]], 100, CONFIG)
        assert tracks.frame_idx.tolist() == [0, 2]
        assert tracks.track.tolist() == [0, 0]
        assert len(join_tokens([nothing], 100, CONFIG).vectors) == 0
