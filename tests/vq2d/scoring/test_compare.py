"""The paired bootstrap against known distributions, and its coverage of a known difference."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, norm

from ren_core.errors import ConfigError, DataError
from tests.query_results import row, rows_of
from vq2d.scoring import compare as module
from vq2d.scoring.bootstrap import BootstrapConfig
from vq2d.scoring.compare import ALL_SETS, compare, draw, pair_rows, pool
from vq2d.scoring.metrics import METRICS, compute
from vq2d.types import QueryKey

BASE = BootstrapConfig(resamples=4000)
BY_CLIP = BootstrapConfig(resamples=4000, unit="clip")


def flips(*, both, gained=0, lost=0, neither=0, **options):
    """Rows of two runs with so many queries found by both, by b alone, by a alone, by none."""
    a = rows_of([1] * both + [0] * gained + [1] * lost + [0] * neither, **options)
    b = rows_of([1] * both + [1] * gained + [0] * lost + [0] * neither, **options)
    return a, b


def only(a, b, config=BASE):
    (comparison,) = compare({"val": (a, b)}, config)
    return comparison


class TestInterval:
    @pytest.mark.parametrize("seed", [0, 1])
    def test_gains_are_binomial(self, seed):
        # Each draw is one of the k gained queries with k / n: their number is binomial. Resampling
        # the runs apart would add the spread of the queries found by both, and be twice as wide.
        config = BootstrapConfig(seed=seed)
        success = only(*flips(both=40, gained=10, neither=50), config).figures["success"]
        low, high = binom.ppf([0.025, 0.975], 100, 0.10)
        assert (success.a, success.b, success.difference) == (40, 50, 10)
        assert success.low == pytest.approx(low, abs=1)  # one query is one percent
        assert success.high == pytest.approx(high, abs=1)
        assert success.seen

    def test_gains_and_losses_are_nearly_normal(self):
        success = only(*flips(both=120, gained=48, lost=32, neither=200)).figures["success"]
        spread = 100 * np.sqrt((0.2 - 0.04**2) / 400)
        low, high = norm.ppf([0.025, 0.975], 4, spread)
        assert success.low == pytest.approx(low, abs=0.25)  # one query
        assert success.high == pytest.approx(high, abs=0.25)
        assert not success.seen

    def test_exchanged_runs_have_the_opposite_interval(self):
        a, b = flips(both=20, gained=12, lost=5, neither=30)
        forth, back = only(a, b).figures, only(b, a).figures
        for name in METRICS:
            assert (forth[name].a, forth[name].low) == (
                back[name].b,
                pytest.approx(-back[name].high),
            )
            assert forth[name].difference == -back[name].difference

    @pytest.mark.parametrize("config", [BASE, BY_CLIP])
    def test_same_run_differs_by_exactly_nothing(self, config):
        a, _ = flips(both=13, neither=8, per_clip=3)
        for figure in only(a, list(a), config).figures.values():
            assert (figure.difference, figure.low, figure.high, figure.seen) == (0, 0, 0, False)

    def test_few_gains_are_not_seen(self):
        gained, lost = flips(both=20, gained=2, neither=20), flips(both=20, lost=2, neither=20)
        assert not any(figure.seen for figure in only(*gained).figures.values())
        assert not any(figure.seen for figure in only(*lost).figures.values())
        assert all(f.seen and f.high < 0 for f in only(*flips(both=9, lost=20)).figures.values())

    def test_figures_are_the_official_ones(self):
        a, b = flips(both=7, gained=4, lost=2, neither=5)
        comparison = only(a, b)
        assert (comparison.name, comparison.queries, comparison.units) == ("val", 18, 18)
        assert {name: f.a for name, f in comparison.figures.items()} == compute(a)
        assert {name: f.b for name, f in comparison.figures.items()} == compute(b)

    def test_covers_the_true_difference(self):
        # 60 queries of a population in which b gains 0.25 and loses 0.10.
        rng, covered = np.random.default_rng(0), 0
        for seed in range(200):
            kinds = rng.multinomial(60, [0.35, 0.25, 0.10, 0.30])
            a, b = flips(**dict(zip(("both", "gained", "lost", "neither"), kinds, strict=True)))
            config = BootstrapConfig(seed=seed, resamples=200)
            success = only(a, b, config).figures["success"]
            covered += success.low <= 15 <= success.high
        assert 0.90 <= covered / 200 <= 0.98


class TestClips:
    def test_gains_of_whole_clips_are_binomial_in_clips(self):
        a, b = flips(both=80, gained=40, neither=80, per_clip=10)
        by_clip, by_query = only(a, b, BY_CLIP), only(a, b)
        assert (by_clip.queries, by_clip.units, by_query.units) == (200, 20, 200)
        low, high = 100 * binom.ppf([0.025, 0.975], 20, 0.2) / 20
        success = by_clip.figures["success"]
        assert success.low == pytest.approx(low, abs=5)  # one clip is five percent
        assert success.high == pytest.approx(high, abs=5)
        narrow = by_query.figures["success"]
        assert success.high - success.low > 2 * (narrow.high - narrow.low)

    def test_single_queries_of_clips_are_queries(self):
        a, b = flips(both=8, gained=5, lost=1, neither=6)
        assert only(a, b, BY_CLIP) == only(a, b)

    def test_clip_without_uid_is_known_by_its_place(self):
        # Five clips of four queries, two clips of each video.
        runs = flips(both=8, gained=5, lost=1, neither=6, per_clip=4)
        bare = [
            [
                replace(r, clip_uid=None, key=QueryKey(i // 8, i // 4 % 2, 0, str(i)))
                for i, r in enumerate(rows)
            ]
            for rows in runs
        ]
        assert only(*bare, BY_CLIP) == only(*runs, BY_CLIP)


class TestSets:
    def test_each_set_is_resampled_within_itself(self):
        # b gains every query of one set and none of the other: no draw within the sets changes
        # the difference, while a draw from all queries would.
        sets = {"one": flips(both=0, gained=30), "two": flips(both=30, neither=30)}
        one, two, both = compare(sets, BASE)
        assert [(c.name, c.queries) for c in (one, two, both)] == [
            ("one", 30),
            ("two", 60),
            (ALL_SETS, 90),
        ]
        success = both.figures["success"]
        assert [success.low, success.high] == pytest.approx([100 / 3, 100 / 3])
        assert (one.figures["success"].low, two.figures["success"].high) == (100, 0)

    def test_all_sets_are_one_list_of_queries(self):
        sets = {"one": flips(both=5, gained=2, neither=9), "two": flips(both=7, lost=3)}
        pooled = compare(sets, BASE)[-1]
        rows_a, rows_b = ([r for pair in sets.values() for r in pair[i]] for i in (0, 1))
        assert {name: f.a for name, f in pooled.figures.items()} == compute(rows_a)
        assert {name: f.b for name, f in pooled.figures.items()} == compute(rows_b)

    def test_sets_share_no_clip(self):
        one, two = ([*flips(both=n, per_clip=2)] for n in (6, 4))
        pairs = [pair_rows("one", *one, "clip"), pair_rows("two", *two, "clip")]
        assert pool(pairs).units.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert compare({"one": one, "two": two}, BY_CLIP)[-1].units == 5

    def test_first_set_does_not_depend_on_the_others(self):
        one, two = flips(both=8, gained=5, lost=3), flips(both=4, neither=4)
        assert compare({"one": one, "two": two}, BASE)[0] == compare({"one": one}, BASE)[0]

    def test_no_set(self):
        with pytest.raises(DataError, match="no set of queries"):
            compare({}, BASE)


class TestDraw:
    @pytest.fixture
    def pairs(self):
        sets = {"one": flips(both=5, neither=4, per_clip=3), "two": flips(both=6, per_clip=2)}
        return {
            unit: [pair_rows(name, a, b, unit) for name, (a, b) in sets.items()]
            for unit in ("query", "clip")
        }

    def test_as_many_as_there_are_each_equally_often(self, pairs):
        counts = np.concatenate(list(draw(pairs["query"], BASE)))
        assert counts.shape == (4000, 15)
        assert (counts[:, :9].sum(axis=1) == 9).all()
        assert (counts[:, 9:].sum(axis=1) == 6).all()
        assert counts.mean(axis=0) == pytest.approx(np.ones(15), abs=0.05)
        assert counts[:, 0].var() == pytest.approx(8 / 9, abs=0.05)

    def test_clips_stay_whole(self, pairs):
        counts = np.concatenate(list(draw(pairs["clip"], BASE)))
        starts, sizes = [0, 3, 6, 9, 11, 13], [3, 3, 3, 2, 2, 2]
        assert (counts == np.repeat(counts[:, starts], sizes, axis=1)).all()
        assert (counts[:, [0, 3, 6]].sum(axis=1) == 3).all()
        assert len(np.unique(counts[:, 0])) == 4

    def test_blocks_do_not_change_the_draws(self, pairs, monkeypatch):
        config = BootstrapConfig(resamples=103)
        whole = list(draw(pairs["query"], config))
        monkeypatch.setattr(module, "BLOCK", 150)
        blocks = list(draw(pairs["query"], config))
        assert [len(block) for block in whole] == [103]
        assert [len(block) for block in blocks] == [10] * 10 + [3]
        assert (np.concatenate(blocks) == whole[0]).all()

    def test_seed(self, pairs):
        first, same, other = (
            next(draw(pairs["query"], BootstrapConfig(seed=seed))) for seed in (0, 0, 1)
        )
        assert (first == same).all()
        assert (first != other).any()

    @pytest.mark.parametrize("wrong", [{"resamples": 99}, {"seed": -1}, {"unit": "video"}])
    def test_settings_are_checked(self, wrong):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            BootstrapConfig(**wrong)


class TestPairing:
    def test_rows_are_joined_by_key(self):
        a, b = flips(both=4, gained=3, neither=2)
        assert only(a, b[::-1]) == only(a, b)

    @pytest.mark.parametrize(
        ("a", "b", "match"),
        [
            (range(3), range(1, 3), r"a has 3 queries and run b 2, .* 1 are in one of them only "),
            (range(3), range(1, 4), r"2 are in one of them only \(the first is v0-c0-a0-q0\)"),
            ([0, 1, 1], [0, 1], "a has 3 queries and run b 2, expected each query once"),
            ([0, 1], [0, 1, 1], "a has 2 queries and run b 3, expected each query once"),
            ([0, 1, 1], [0, 1, 1], "expected each query once in both"),
            ([], [], "found 0 to draw from with the unit 'query', expected 2 or more"),
            ([0], [0], "found 1 to draw from"),
        ],
    )
    def test_queries_must_be_the_same(self, a, b, match):
        rows = ([row(key=QueryKey(0, 0, 0, str(i))) for i in keys] for keys in (a, b))
        with pytest.raises(DataError, match=f"^val: .*{match}") as caught:
            only(*rows)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("change", [{"gt_frames": 11}, {"gt_max_area": 1.0}, {"clip_uid": "x"}])
    def test_truth_must_be_the_same(self, change):
        a, b = flips(both=3)
        b[1] = replace(b[1], **change)
        with pytest.raises(DataError, match="val: query v0-c1-a0-q1 has another truth in run b"):
            only(a, b)

    def test_one_clip_is_refused(self):
        a, b = flips(both=4, per_clip=4)
        with pytest.raises(DataError, match="found 1 to draw from with the unit 'clip'"):
            only(a, b, BY_CLIP)
