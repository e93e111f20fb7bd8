"""The statistics of a report against scipy, rliable, published tables, and studies whose truth is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mtl.report.blocked import fit
from mtl.report.power import blocks_needed, critical, power, shift, tail
from mtl.report.sensitivity import bootstrap, holm, sign_flip
from mtl.report.stats import Comparison, bootstrap_pictures, compare, interval, verdict

LEVEL = 0.95


def drawn(rows: int, blocks: int, seed: int, replicates: int | None = None) -> np.ndarray:
    """Rows that do not differ, in blocks that do."""
    generator = np.random.default_rng(seed)
    shape = (rows, blocks) if replicates is None else (replicates, rows, blocks)
    return generator.normal(size=shape) + 3 * generator.normal(size=(*shape[:-2], 1, blocks))


def collapsing(rows: int, blocks: int, seed: int) -> np.ndarray:
    """The last row varies 1,000 times as much."""
    values = drawn(rows, blocks, seed)
    values[-1] += 1000 * np.random.default_rng(seed + 1).normal(size=blocks)
    return values


# Dunnett's distribution


@pytest.mark.parametrize(
    ("family", "degrees", "published"),
    [
        # Two-sided 5 % points as tabulated in R's mixtox (DTcv, itself computed by simulation) ...
        *[(family, 5, value) for family, value in enumerate((2.571, 3.030, 3.294, 3.474, 3.616, 3.727), start=1)],
        # ... and in Dunnett, Biometrics 20 (1964), table II, as quoted by R's PMCMRplus; Howell's t_d.
        (4, 20, 2.65),
        (3, 12, 2.686),
    ],
)
def test_critical_values_are_those_of_published_tables(family, degrees, published):
    assert critical(family, degrees, 0.05) == pytest.approx(published, abs=0.006)


@pytest.mark.parametrize(("family", "degrees"), [(2, 2), (2, 4), (5, 8), (9, 36), (9, 2000)])
@pytest.mark.parametrize("t", [0.7, 2.0, 3.5])
def test_the_tail_is_that_of_the_multivariate_t(family, degrees, t):
    shape = np.full((family, family), 0.5) + 0.5 * np.eye(family)
    inside = scipy_stats.multivariate_t(shape=shape, df=degrees, seed=0).cdf(
        np.full(family, t), lower_limit=np.full(family, -t)
    )
    assert tail(t, family, degrees) == pytest.approx(1 - inside, abs=3e-4)


def test_the_tail_is_that_of_scipys_dunnett():
    """In its one-way design, at its degrees of freedom: p-values and intervals."""
    generator = np.random.default_rng(3)
    groups = [generator.normal(mean, 1, 6) for mean in (0, 0.5, 1.2, 1.9)]
    theirs = scipy_stats.dunnett(*groups[1:], control=groups[0], rng=np.random.default_rng(0))
    degrees = 4 * 5
    error = np.sqrt(2 / 6 * np.mean([group.var(ddof=1) for group in groups]))
    differences = np.array([group.mean() - groups[0].mean() for group in groups[1:]])
    ours = [tail(abs(difference) / error, 3, degrees) for difference in differences]
    assert ours == pytest.approx(theirs.pvalue, abs=3e-4)
    assert critical(3, degrees, 0.05) * error == pytest.approx(differences - theirs.confidence_interval().low, rel=2e-3)


def test_a_family_of_one_is_student():
    for degrees, t in itertools.product((1, 2, 5, 300), (0.1, 1.0, 4.0, 100.0)):
        assert tail(t, 1, degrees) == pytest.approx(2 * scipy_stats.t.sf(t, degrees), rel=1e-9)
        assert critical(1, degrees, 0.05) == pytest.approx(scipy_stats.t.isf(0.025, degrees), rel=1e-9)


@pytest.mark.parametrize(("family", "degrees"), [(2, 2), (2, 4), (2, 7), (9, 9), (9, 18), (35, 140), (35, 34965)])
def test_the_quadrature_is_exact(family, degrees):
    """The same integral by brute force: 2,500 x 700 points."""
    log_s = np.linspace(-16, 3, 2500) if degrees < 100 else np.linspace(-0.9, 0.6, 2500)
    weights = np.exp(degrees * (log_s - np.expm1(2 * log_s) / 2))
    z = np.linspace(-9, 9, 700)
    density = scipy_stats.norm.pdf(z)
    for t in (0.3, 2.8, 30.0):
        near = weights > weights.max() * 1e-16
        reach = np.sqrt(2) * t * np.exp(log_s[near])[:, None]
        inside = scipy_stats.norm.cdf(z + reach) - scipy_stats.norm.cdf(z - reach)
        outside = weights[near] @ (1 - inside**family) @ density / weights[near].sum() / density.sum()
        assert tail(t, family, degrees) == pytest.approx(outside, abs=1e-7)


# Power


@pytest.mark.parametrize(("rows", "blocks", "effect"), [(2, 5, 2.0), (3, 3, 2.5), (10, 5, 2.4), (10, 10, 1.0)])
def test_power_is_that_of_the_noncentral_t(rows, blocks, effect):
    degrees = (rows - 1) * (blocks - 1)
    expected = scipy_stats.nct.sf(critical(rows - 1, degrees, 0.05), degrees, effect * np.sqrt(blocks / 2))
    assert power(effect, rows, blocks) == pytest.approx(expected, abs=1e-9)
    assert power(shift(rows - 1, degrees, 1 - LEVEL) * np.sqrt(2 / blocks), rows, blocks) == pytest.approx(
        0.8, abs=1e-5
    )


@pytest.mark.parametrize("effect", [0.15, 0.6, 1.1, 2.9, 8.0, 60.0])
def test_the_blocks_needed_are_the_fewest(effect):
    needed = blocks_needed(effect / np.sqrt(2), 6, 5, 0.05)
    assert power(effect, 6, needed) >= 0.8 - 1e-5
    assert needed == 2 or power(effect, 6, needed - 1) < 0.8


def test_no_number_of_blocks_finds_next_to_nothing():
    assert blocks_needed(0.0, 6, 5, 0.05) is None
    assert blocks_needed(0.001, 6, 5, 0.05) is None


# Comparisons


def test_two_rows_are_a_paired_t_test():
    values = drawn(2, 6, seed=1)
    (comparison, none) = compare(values, 1)
    theirs = scipy_stats.ttest_rel(values[0], values[1])
    assert none is None
    assert comparison.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (comparison.low, comparison.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)
    assert comparison.effect == pytest.approx(np.sqrt(2) * comparison.difference / (values[0] - values[1]).std(ddof=1))
    assert (comparison.degrees, comparison.method) == (5.0, "pooled")


def test_the_pooled_spread_is_that_of_the_two_way_model():
    """Least squares on dummy variables."""
    values = drawn(4, 5, seed=4)
    row, block = np.divmod(np.arange(20), 5)
    design = np.column_stack([row == i for i in range(4)] + [block == j for j in range(1, 5)]).astype(float)
    residual = np.linalg.lstsq(design, values.ravel())[1].item()
    comparison = compare(values, 0)[2]
    assert comparison.method == "pooled"
    assert comparison.degrees == 12.0
    half = critical(3, 12, 0.05) * np.sqrt(2 * residual / 12 / 5)
    assert comparison.high - comparison.low == pytest.approx(2 * half)
    assert comparison.effect == pytest.approx(comparison.difference / np.sqrt(residual / 12))


def test_a_collapsing_row_is_compared_by_its_own_differences_and_spoils_no_other():
    values = collapsing(6, 5, seed=8)
    results = compare(values, 0)
    theirs = scipy_stats.ttest_rel(values[5], values[0])
    assert results[5].method == "own"
    assert results[5].p == pytest.approx(min(1, 5 * theirs.pvalue))
    low, high = theirs.confidence_interval(1 - 0.05 / 5)
    assert (results[5].low, results[5].high) == pytest.approx((low, high))
    alone = fit(values[None, :5], 0)
    beside = fit(values[None], 0)
    assert not alone.own.any()
    assert beside.own[0].tolist() == [False] * 4 + [True]
    assert beside.spread[0, :4] == pytest.approx(alone.spread[0])
    assert beside.degrees[0].tolist() == [16] * 4 + [4]
    # Four comparisons of five share four fifths of the error.
    width = critical(4, 16, 0.04) * alone.spread[0, 0] / np.sqrt(5)
    assert results[1].high - results[1].low == pytest.approx(2 * width)


def test_a_collapsing_baseline_leaves_nothing_to_pool():
    values = collapsing(5, 5, seed=5)
    assert {one.method for one in compare(values, 4) if one} == {"own"}


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_interval_and_p_agree(level):
    seen = set()
    for seed in range(60):
        values = drawn(4, 3 + seed % 4, seed)
        values[1:] += np.random.default_rng(seed).normal(0, 2, (3, 1))
        for one in compare(values, 0, level=level)[1:]:
            excludes = one.low > 0 or one.high < 0
            assert excludes == (one.p < 1 - level)
            assert excludes == (verdict(one, 0.0) in ("better", "worse"))
            seen.add((one.method, excludes))
    assert len(seen) == 4  # both methods, both answers


def test_what_a_comparison_says_of_its_design():
    values = drawn(4, 5, seed=4)
    values[1] += 5
    one = compare(values, 0)[1]
    sd = one.difference / one.effect
    assert power(one.detectable / sd, 4, 5) == pytest.approx(0.8, abs=1e-5)
    assert power(one.effect, 4, one.seeds_needed) >= 0.8 - 1e-5 > power(one.effect, 4, one.seeds_needed - 1)


def test_signs_rows_and_shifts():
    values = drawn(5, 5, seed=8)
    there, back = compare(values, 0), compare(-values, 0)
    assert [one.difference for one in there[1:]] == pytest.approx(list(values[1:].mean(1) - values[0].mean()))
    for one, other in zip(there[1:], back[1:], strict=True):
        assert (one.low, one.high, one.p) == pytest.approx((-other.high, -other.low, other.p))
        assert one.improvement == pytest.approx(1 - other.improvement)
    moved = compare(values + 100 * np.arange(5), 0)  # block effects
    assert [one.p for one in moved[1:]] == pytest.approx([one.p for one in there[1:]])
    order = [3, 1, 0, 4, 2]
    permuted = compare(values[order], order.index(0))
    assert [permuted[order.index(row)].p for row in range(1, 5)] == pytest.approx([one.p for one in there[1:]])


# What rliable 1.2.0 (scipy 1.17.1) returned: rliable.metrics.probability_of_improvement of [runs x 1] scores
RLIABLE = [
    ([1, 2, 3], [1, 2, 3], 0.5),
    ([3, 2, 5, 4, 4], [1, 2, 3, 4, 4], 0.68),
    ([0.52, 0.61, 0.55, 0.58, 0.60], [0.50, 0.54, 0.56, 0.58, 0.49], 0.78),
    (
        [0.0, 0.3, -0.27, -0.89, -0.45, -0.99, 0.06, 1.34, -0.49, -0.62],
        [0.99, 0.86, 0.61, -0.43, 0.47, 1.2, -0.84, 0.04, -1.4, -0.79],
        0.39,
    ),
]


@pytest.mark.parametrize(("row", "baseline", "expected"), RLIABLE)
def test_the_probability_of_improvement_is_rliables(row, baseline, expected):
    one = compare(np.array([baseline, row], dtype=float), 0)[1]
    assert one.improvement == pytest.approx(expected)
    statistic = scipy_stats.mannwhitneyu(row, baseline).statistic
    assert one.improvement == pytest.approx(statistic / len(row) ** 2)


# What has no spread, few blocks, equal rows


def test_one_block_gives_a_difference_and_no_claim():
    one = compare(np.array([[1.0], [3.0], [1.0]]), 0)[1]
    assert (one.difference, one.improvement) == (2.0, 1.0)
    assert one.low is one.high is one.p is one.effect is one.detectable is one.seeds_needed is one.degrees is None
    assert verdict(one, 10) == "undecided"
    assert compare(np.array([[1.0], [3.0], [1.0]]), 0)[2].low is None


@pytest.mark.parametrize("rows", [2, 3, 8])
def test_two_blocks_give_intervals(rows):
    for seed in range(20):
        for one in compare(drawn(rows, 2, seed), 0)[1:]:
            assert one.low < one.difference < one.high
            assert 0 < one.p <= 1
            assert one.detectable > 0


def test_a_row_that_equals_the_baseline():
    values = drawn(4, 10, seed=3)
    values[2] = values[0]
    results = compare(values, 0)
    assert results[2] == Comparison(
        0.0, 0.0, 0.0, 1.0, 0.0, 0.5, None, None, 9.0, "own", sign_flip=1.0, bootstrap=(0.0, 0.0)
    )
    assert verdict(results[2], 0.0) == "no difference above 0"
    assert results[0] is None
    # Nothing else changes by it: the same residuals twice are no evidence.
    without = compare(values[[0, 1, 3]], 0)
    assert [results[1], results[3]] == without[1:]
    assert compare(values, 2)[1] == results[1]
    assert all(one == results[2] for one in compare(values[[0, 0, 0]], 1) if one)


def test_rows_that_equal_one_another_count_as_one():
    values = drawn(4, 5, seed=6)
    twice = compare(values[[0, 1, 2, 3, 2]], 0)
    assert twice[:4] == compare(values, 0)
    assert twice[4] == twice[2]


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_differences_that_do_not_vary_claim_nothing(offset):
    values = drawn(1, 4, seed=1) + np.array([[0.0], [1.0], [2.0 + offset]])
    for one in compare(values, 0)[1:]:
        assert one.low is one.high is one.p is None
        assert verdict(one, 100) == "undecided"
    constant = compare(np.repeat([[1.0], [2.0], [2.0]], 4, axis=1), 0)[1]
    assert (constant.difference, constant.low, constant.improvement) == (1.0, None, 1.0)


def test_one_row_varies_and_the_others_do_not():
    values = np.ones((4, 5)) * np.array([[1.0], [2.0], [3.0], [4.0]])
    values[3] += drawn(1, 5, seed=0)[0]
    results = compare(values, 0)
    assert results[1].low is None
    assert results[3].method == "own"
    assert results[3].low < results[3].high


def test_verdicts():
    def seen(low: float, high: float) -> Comparison:
        return Comparison((low + high) / 2, low, high, 0.5, 0, 0.5, None, None, 4.0, "own", None, None)

    assert verdict(seen(0.1, 0.5), 1) == "better"
    assert verdict(seen(-0.5, -0.1), 1) == "worse"
    assert verdict(seen(-0.5, 1), 1) == "no difference above 1"
    assert verdict(seen(-0.5, 1.01), 1) == "undecided"
    assert verdict(seen(-1.01, 0.5), 1) == "undecided"
    assert verdict(seen(-0.2, 0.2), 0.25) == "no difference above 0.25"


def test_the_interval_of_a_row():
    row = drawn(1, 5, seed=0)[0]
    assert interval(row) == pytest.approx(scipy_stats.t.interval(0.95, 4, row.mean(), scipy_stats.sem(row)))
    assert interval(row, 0.8) == pytest.approx(scipy_stats.t.interval(0.8, 4, row.mean(), scipy_stats.sem(row)))
    assert interval(row[:1]) is None


@pytest.mark.parametrize(
    ("values", "baseline", "level", "says"),
    [
        ([[1, 2], [1, float("nan")]], 0, 0.95, "not finite"),
        ([[1, 2], [1, float("inf")]], 0, 0.95, "not finite"),
        ([[1, 2], [1]], 0, 0.95, "equally many"),
        ([[1, 2], [None, 1]], 0, 0.95, "not finite"),
        ([["a", "b"], ["c", "d"]], 0, 0.95, "must be numbers"),
        ([1, 2], 0, 0.95, "rows, blocks"),
        (np.zeros((3, 0)), 0, 0.95, "at least one block"),
        ([[1, 2]], 0, 0.95, "at least one other row"),
        ([[1, 2], [2, 3]], 2, 0.95, "0 to 1"),
        ([[1, 2], [2, 3]], -1, 0.95, "0 to 1"),
        ([[1, 2], [2, 3]], 0, 95, "between 0 and 1"),
    ],
)
def test_bad_input_gets_a_sentence(values, baseline, level, says):
    with pytest.raises(ValueError, match=says) as caught:
        compare(values, baseline, level=level)
    assert "\n" not in str(caught.value)


# Sign flips and bootstrap of seeds


def test_sign_flips_are_all_of_them():
    differences = np.random.default_rng(0).normal(0.4, 1, (3, 8))
    signs = np.array(list(itertools.product((1, -1), repeat=8)))
    expected = [(abs(signs @ row) >= abs(row.sum()) - 1e-12).mean() for row in differences]
    assert sign_flip(differences) == pytest.approx(expected)
    assert sign_flip(np.ones((1, 8)))[0] == pytest.approx(2 / 2**8)
    assert sign_flip(np.random.default_rng(0).normal(1.0, 1, (1, 20)), seed=1)[0] < 0.01


def test_holm_by_hand():
    assert holm(np.array([0.02, 0.01, 0.5, 0.03])) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1, 1])


def test_resampling_comes_with_enough_blocks():
    for blocks, has_flips, has_bootstrap in ((7, False, False), (8, True, False), (9, True, False), (10, True, True)):
        values = drawn(3, blocks, seed=blocks)
        first, second = compare(values, 0, seed=4)[1:]
        assert (first.sign_flip is not None, first.bootstrap is not None) == (has_flips, has_bootstrap)
        differences = values[1:] - values[0]
        if has_flips:
            assert [first.sign_flip, second.sign_flip] == pytest.approx(list(holm(sign_flip(differences))))
        if has_bootstrap:
            theirs = scipy_stats.bootstrap(
                (differences,), np.mean, axis=-1, confidence_level=LEVEL, rng=np.random.default_rng(4)
            ).confidence_interval
            assert first.bootstrap == pytest.approx((theirs.low[0], theirs.high[0]))
            assert compare(values, 0, seed=4) == compare(values, 0, seed=4) != compare(values, 0, seed=5)


def test_the_bootstrap_of_equal_differences_is_a_point():
    both = bootstrap(np.array([[0.5] * 10, list(range(10))]))
    assert both[0].tolist() == [0.5, 0.5]
    assert both[1, 0] < 4.5 < both[1, 1]


# Test pictures


def test_drawing_pictures_gives_the_standard_error_of_their_mean():
    losses = np.random.default_rng(0).normal(size=(2, 900, 1))
    draws = bootstrap_pictures(losses, np.arange(900), draws=4000)
    assert draws.shape == (4000, 2)
    assert draws.mean(axis=0) == pytest.approx(losses.mean(axis=(1, 2)), abs=0.003)
    assert draws.std(axis=0) == pytest.approx(losses.std(axis=1).ravel() / 30, rel=0.04)


def test_clusters_are_drawn_whole():
    """Every picture four times: a quarter of the information."""
    single = np.random.default_rng(0).normal(size=(1, 400, 1))
    names = np.random.default_rng(1).permutation(400)
    alone = bootstrap_pictures(single, names)
    fourfold = bootstrap_pictures(np.tile(single, (1, 4, 1)), np.tile(names, 4))
    assert fourfold.std() == pytest.approx(alone.std(), rel=0.05)
    apart = bootstrap_pictures(np.tile(single, (1, 4, 1)), np.arange(1600))
    assert apart.std() == pytest.approx(alone.std() / 2, rel=0.05)


def test_the_rows_are_drawn_together():
    losses = np.random.default_rng(0).normal(size=(1, 50, 2))
    draws = bootstrap_pictures(np.concatenate([losses, losses + 0.3]), np.arange(50))
    assert draws[:, 1] - draws[:, 0] == pytest.approx(np.full(2000, 0.3))


def test_tasks_weigh_alike_whatever_their_labels():
    """Against the definition, draw by draw."""
    generator = np.random.default_rng(2)
    losses = generator.normal(size=(2, 30, 3))
    losses[:, generator.random((30, 3)) < 0.4] = np.nan
    losses[1, 3] = np.nan
    clusters = generator.integers(12, size=30)
    ids = np.unique(clusters)
    draws = bootstrap_pictures(losses, clusters, draws=20, seed=7)
    again = np.random.default_rng(7).integers(len(ids), size=(20, len(ids)))
    for draw, drawn_ids in zip(draws, again, strict=True):
        pictures = np.concatenate([np.flatnonzero(clusters == ids[i]) for i in drawn_ids])
        assert draw == pytest.approx(np.nanmean(losses[:, pictures], axis=1).mean(axis=1))
    assert np.array_equal(draws, bootstrap_pictures(losses, clusters, draws=20, seed=7))


def test_a_draw_without_a_task_is_drawn_again():
    losses = np.ones((1, 10, 2))
    losses[:, 1:, 1] = np.nan
    assert bootstrap_pictures(losses, np.arange(10), draws=500).tolist() == [[1.0]] * 500


@pytest.mark.parametrize(
    ("losses", "clusters", "says"),
    [
        (np.ones((2, 4, 1)), np.arange(5), "must be"),
        (np.ones((2, 4)), np.arange(4), "must be"),
        (np.ones((2, 4, 1)), np.zeros(4), "at least two"),
        (np.full((2, 4, 1), np.nan), np.arange(4), "without any label"),
        (np.full((2, 4, 1), np.inf), np.arange(4), "infinite"),
    ],
)
def test_bad_pictures_get_a_sentence(losses, clusters, says):
    with pytest.raises(ValueError, match=says):
        bootstrap_pictures(losses, clusters)


# Calibration: a smaller benchmarks/calibration.py


REPLICATES = 10000
# Four standard errors of a share of 5 %, in percent.
NOISE = 400 * np.sqrt(0.05 * 0.95 / REPLICATES)


def claims(values: np.ndarray) -> float:
    fitted = fit(values, 0)
    return 100 * (abs(fitted.difference) > fitted.half(LEVEL)).any(axis=1).mean()


@pytest.mark.parametrize(("rows", "blocks"), [(3, 3), (10, 3), (6, 5), (10, 10)])
def test_false_claims_and_power(rows, blocks):
    values = drawn(rows, blocks, 10 * rows + blocks, REPLICATES)
    assert 2 < claims(values) < 5 + NOISE
    values[:, 1] += shift(rows - 1, (rows - 1) * (blocks - 1), 0.05) * np.sqrt(2 / blocks)
    fitted = fit(values, 0)
    pooled = ~fitted.own[:, 0]
    found = (fitted.difference > fitted.half(LEVEL))[pooled, 0].mean()
    assert 0.5 < pooled.mean() < 0.75
    assert found == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("odd", [0, -1])
@pytest.mark.parametrize(("blocks", "allowed"), [(3, 8), (5, 6)])
def test_a_spread_that_differs_makes_few_false_claims(odd, blocks, allowed):
    """Always pooled, 15 % and more."""
    values = drawn(6, blocks, blocks, REPLICATES // 2)
    values[:, odd] += 3 * np.random.default_rng(blocks).normal(size=(len(values), blocks))
    assert claims(values) < allowed
