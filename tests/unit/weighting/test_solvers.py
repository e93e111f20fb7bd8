"""The solvers by the conditions that only a solution meets, on random, badly scaled and dependent gradients."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.weighting.jacobian import gramian as product_of_rows
from mtl.weighting.solvers import Gramian, conflict_averse, dual_cone, fair, min_norm, nonnegative, solve

KINDS = ["plain", "scaled", "collinear", "doubled", "opposed", "nearly opposed", "zero", "stationary", "small"]
INDEPENDENT = ["plain", "scaled", "collinear", "small"]


def gradients(number, size, kind, seed):
    """Rows [K, n]; what makes them hard is in the second one, or in all."""
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((number, size))
    if kind == "scaled":
        rows *= 10 ** generator.uniform(-3, 3, (number, 1))
    elif kind == "small":
        rows *= 1e-12
    elif kind == "stationary":
        rows -= rows.mean(0)
    elif number > 1 and kind != "plain":
        factor = {"collinear": 2, "doubled": 3, "opposed": -0.5, "nearly opposed": -0.5, "zero": 0}[kind]
        noise = 1e-4 if kind in ("collinear", "nearly opposed") else 0
        rows[1] = factor * rows[0] + noise * generator.standard_normal(size)
    return rows


def matrices(kinds=KINDS, wide=False):
    """Of 1 to 12 gradients of 1 to 20 numbers (`wide`: of more numbers than there are gradients)."""

    def build(number, size, kind, seed):
        return gradients(number, size + (number if wide else 0), kind, seed)

    return st.builds(build, st.integers(1, 12), st.integers(1, 20), st.sampled_from(kinds), st.integers(0, 10**6))


def of(rows):
    return Gramian(rows @ rows.T)


common = settings(deadline=None, max_examples=150)


@common
@given(matrices())
def test_min_norm_is_the_nearest_point_of_the_hull(rows):
    """x . g_i >= x . x for all i: no vertex lies beyond the plane through x at right angles to it."""
    lengths = np.linalg.norm(rows, axis=1)
    weights = min_norm(of(rows))
    nearest = weights @ rows
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    assert (rows @ nearest - nearest @ nearest >= -1e-6 * lengths * lengths.min()).all()


@common
@given(matrices(), st.integers(0, 11))
def test_dual_cone_is_a_projection(rows, position):
    """Moreau: x is the projection of y onto a cone if x lies in it, x - y in its polar, and they are orthogonal."""
    u = np.zeros(len(rows))
    u[position % len(rows)] = 1
    lengths, given_ = np.linalg.norm(rows, axis=1), np.linalg.norm(u @ rows)
    added = dual_cone(of(rows), u) - u
    projected = (u + added) @ rows
    # Rounding of G alone moves G w by this much of each length, where large parts of w cancel.
    rounding = of(rows).noise * (added @ lengths)
    assert added.min() >= 0
    assert (rows @ projected >= -(1e-6 * given_ + rounding) * lengths).all()
    assert abs(projected @ (added @ rows)) <= 1e-6 * given_**2 + rounding * (added @ lengths)


@common
@given(matrices(), st.sampled_from([0.0, 0.1, 0.4, 0.9, 1.0, 3.0]))
def test_conflict_averse_has_no_duality_gap(rows, c):
    """min_i g_i . d of a d in the ball is at most g_w . g0 + c norm(g0) norm(g_w) for every w: equal, both are best."""
    lengths, mean = np.linalg.norm(rows, axis=1), rows.mean(0)
    added = conflict_averse(of(rows), c) - 1 / len(rows)
    direction, radius = mean + added @ rows, c * np.linalg.norm(mean)
    unit = lengths.max() * max(np.linalg.norm(mean), 1e-9 * lengths.max())
    assert added.min() >= -1e-12 * abs(added).max()
    assert np.linalg.norm(direction - mean) <= radius * (1 + 1e-5) + 1e-7 * lengths.max()

    def bound(weights):
        hull = weights @ rows
        return hull @ mean + radius * np.linalg.norm(hull)

    bounds = [bound(row) for row in np.eye(len(rows))] + [bound(min_norm(of(rows)))]
    if added.sum() > 0:
        bounds.append(bound(added / added.sum()))
    # Where 0 is nearer to the hull than G can tell (`hull_has_zero`), it counts as inside, and the best level as 0.
    unseen = 3 * (1 + c) * of(rows).noise ** 0.5
    assert (rows @ direction).min() >= min(bounds) - (1e-6 + unseen) * unit


@common
@given(matrices(), st.sampled_from([0.5, 1.0, 2.0, 5.0]))
def test_fair_solves_its_equation_or_says_that_nothing_does(rows, alpha):
    weights, live = fair(of(rows), alpha), np.linalg.norm(rows, axis=1) > 0
    assert (weights[~live] == 0).all()
    if weights.any():
        found = (rows @ (weights @ rows))[live]
        # Rounding of G w where its terms cancel: the more, the nearer 0 is to the hull.
        rounding = 1e-12 * (np.abs(rows @ rows.T) @ weights)[live]
        assert (abs(found - weights[live] ** (-1 / alpha)) <= 1e-6 * found + rounding).all()
    elif live.any():
        units = rows[live] / np.linalg.norm(rows[live], axis=1, keepdims=True)
        assert np.linalg.norm(min_norm(of(units)) @ units) < 1e-6


@common
@given(matrices(INDEPENDENT, wide=True))
def test_independent_gradients_are_not_stationary(rows):
    assert not of(rows).hull_has_zero()
    assert fair(of(rows), 1.0).min() > 0


@pytest.mark.parametrize("kind", ["opposed", "stationary"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_stationary_gradients_are(kind, dtype):
    for seed in range(20):
        rows = gradients(5, 30, kind, seed).astype(dtype)
        given_ = Gramian((rows @ rows.T).astype(np.float64), np.finfo(dtype).eps)
        assert given_.hull_has_zero()
        assert fair(given_, 1.0).tolist() == [0.0] * 5


@common
@given(st.integers(1, 5), st.integers(0, 10**6))
def test_nonnegative_is_the_best_of_all_supports(number, seed):
    """Every choice of variables that may be positive is solved; the least value of a feasible one is the answer."""
    generator = np.random.default_rng(seed)
    root, sides = generator.standard_normal((number, number)), generator.standard_normal((4, number))
    a = root @ root.T + 1e-3 * np.eye(number)
    solved = nonnegative(a, sides)
    assert solved.min() >= 0
    for found, b in zip(solved, sides, strict=True):
        values = [0.0]
        for support in product([False, True], repeat=number):
            index = np.flatnonzero(support)
            x = np.zeros(number)
            x[index] = np.linalg.solve(a[np.ix_(index, index)], b[index])
            if x.min() >= 0:
                values.append(x @ a @ x / 2 - b @ x)
        assert found @ a @ found / 2 - b @ found == pytest.approx(min(values), rel=1e-9, abs=1e-12)
        assert found == pytest.approx(nonnegative(a, b), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([[1, 0], [0, 2]], [4 / 5, 1 / 5]),  # orthogonal: proportional to 1 / length^2
        ([[1, 0], [3, 1]], [1, 0]),  # the first is the nearest point
        ([[1, 0], [-1, 0]], [1 / 2, 1 / 2]),  # the hull has zero
        ([[1, 0], [-3, 0]], [3 / 4, 1 / 4]),
        ([[1, 0], [0, 0]], [0, 1]),
        ([[0, 0], [0, 0]], [1 / 2, 1 / 2]),
    ],
)
def test_min_norm_by_hand(rows, wanted):
    assert min_norm(of(np.array(rows, dtype=float))).tolist() == pytest.approx(wanted)


def test_dual_cone_by_hand():
    """g1 = (1, 0), g2 = (-1, 1): the cone is d2 >= d1 >= 0. g1 goes to (1/2, 1/2), g2 to (0, 1), their mean stays."""
    given_ = of(np.array([[1.0, 0.0], [-1.0, 1.0]]))
    assert dual_cone(given_, np.array([1.0, 0.0])).tolist() == pytest.approx([1, 1 / 2])
    assert dual_cone(given_, np.array([0.0, 1.0])).tolist() == pytest.approx([1, 1])
    assert dual_cone(given_, np.array([0.5, 0.5])).tolist() == pytest.approx([1 / 2, 1 / 2])


def test_conflict_averse_by_hand():
    """Orthogonal gradients of length 1: g0 = (1/2, 1/2) serves both alike, d = (1 + c) g0."""
    assert conflict_averse(of(np.eye(2)), 0.4).tolist() == pytest.approx([0.7, 0.7])
    # Along one line, g1 = 1 and g2 = 3: d = g0 + c g0 = 2.8 = (g1 + g2) / 2 + 0.8 g1, of the task that gains less.
    assert conflict_averse(of(np.array([[1.0], [3.0]])), 0.4).tolist() == pytest.approx([1.3, 0.5])
    # Opposed, 1 and -3: g0 = -1. Whatever one gains the other loses; c = 1 reaches 0, c = 0.4 comes nearer to it.
    assert (conflict_averse(of(np.array([[1.0], [-3.0]])), 1.0) @ [1, -3]) == pytest.approx(0, abs=1e-6)
    assert (conflict_averse(of(np.array([[1.0], [-3.0]])), 0.4) @ [1, -3]) == pytest.approx(-0.6)


def test_fair_by_hand():
    """Orthogonal gradients of length d: d^2 w = w^(-p), w = d^(-2 / (1 + p)); p = 2 and d = 8 make 1/4."""
    assert fair(of(np.diag([1.0, 8.0])), 0.5).tolist() == pytest.approx([1, 1 / 4])
    assert fair(of(np.diag([1.0, 8.0])), 1.0).tolist() == pytest.approx([1, 1 / 8])
    # G = ((2, 1), (1, 2)), p = 1: 3 w = 1 / w.
    assert fair(Gramian(np.array([[2.0, 1.0], [1.0, 2.0]])), 1.0).tolist() == pytest.approx([3**-0.5] * 2)
    assert fair(of(np.array([[4.0], [0.0]])), 1.0).tolist() == pytest.approx([1 / 4, 0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("solver", [min_norm, lambda g: fair(g, 1.0), lambda g: conflict_averse(g, 0.4)])
def test_a_gramian_that_is_not_finite_has_no_weights(solver, value):
    weights = solve(solver, torch.tensor([[1.0, 0.0], [0.0, value]]))
    assert weights.isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 20000])
def test_gramian_in_pieces(dtype, size):
    rows = torch.randn(3, size, dtype=dtype, generator=torch.Generator().manual_seed(size))
    found = product_of_rows(rows)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), rows.double() @ rows.double().T, rtol=1e-5, atol=1e-5 * size)


def test_gramian_of_a_large_network():
    """Ones: 2^24 + 2^22 float32 ones added one by one stop at 2^24."""
    size = 2**24 + 2**22
    assert product_of_rows(torch.ones(1, size)).item() == size
