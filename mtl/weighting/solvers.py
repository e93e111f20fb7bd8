"""Exact solvers of small problems on the Gramian G = J J^T [K, K], in float64 NumPy: microseconds beside a step.

All work on lengths d and cosines C of the gradients, G = D C D: gradients whose lengths differ by 1e6 are then as well
conditioned as equal ones. What C cannot tell because of the rounding of the given Gramian counts as zero (`noise`).
A gradient that is zero has no direction; each solver says what its task gets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
_EPS, _TINY = float(np.finfo(np.float64).eps), float(np.finfo(np.float64).tiny)


class Gramian:
    """G = D C D with what is known of its accuracy.

    Attributes: `lengths` d [K]; `live` [K], where d > 0; `cosines` C [L, L] of the L live rows; `eps` of the dtype in
    which G was computed; `noise`, the size of what rounding may have done to C and its eigenvalues.
    """

    def __init__(self, gramian: Array, eps: float = float(np.finfo(np.float64).eps)) -> None:
        self.lengths: Array = np.sqrt(np.maximum(np.diagonal(gramian), 0.0))
        self.live = self.lengths > 0
        d = self.lengths[self.live]
        self.cosines: Array = gramian[np.ix_(self.live, self.live)] / d[:, None] / d
        self.cosines = (self.cosines + self.cosines.T) / 2
        self.eps, self.noise = eps, 10 * len(gramian) * eps

    @cached_property
    def definite(self) -> Array:
        """C with a ridge below what can be seen, which makes every problem on it solvable."""
        return self.cosines + self.noise / 2 * np.eye(len(self.cosines))

    def spread(self, values: Array, others: float = 0.0) -> Array:
        """`values` [L] of the live rows as [K], `others` for the zero rows."""
        full = np.full(len(self.live), others)
        full[self.live] = values
        return full

    def hull_has_zero(self) -> bool:
        """Whether a convex combination of the live gradients is zero, as far as C can tell (Pareto stationary).

        Their lengths do not matter, so it is asked of unit gradients.
        """
        v = min_norm(Gramian(self.cosines, self.eps))
        return bool(v @ self.cosines @ v <= self.noise)


def solve(solver: Callable[..., Array], gramian: Tensor, *args: Any) -> Tensor:
    """`solver(Gramian, *args)` for a `gramian` [K, K] on any device and of any dtype; its weights [K] are float64.

    A Gramian that is not finite (a NaN gradient, an overflow) has weights that are all NaN. Waits for the device.
    """
    values = gramian.detach().to("cpu", torch.float64).numpy()
    finite = bool(np.isfinite(values).all())
    weights = solver(Gramian(values, torch.finfo(gramian.dtype).eps), *args) if finite else np.full(len(values), np.nan)
    return torch.from_numpy(weights).to(gramian.device)


def nonnegative(a: Array, b: Array) -> Array:
    """The x >= 0 with the smallest x^T A x / 2 - b^T x, for a positive definite A [n, n] and each b of [..., n].

    Lawson, Hanson, "Solving Least Squares Problems", 1974, chapter 23, on the normal equations. All variables whose
    slope is positive enter at once, not one by one: then too at least one of them stays, and the value falls.

    Raises:
        ArithmeticError: no convergence (A is not positive definite).
    """
    x, passive, entering = np.zeros(b.shape), np.zeros(b.shape, dtype=bool), b > 0
    if not entering.any():
        return x
    identity = np.eye(b.shape[-1])
    largest = np.abs(a).max(), np.abs(b).max(-1, keepdims=True)
    for _ in range(10 * b.shape[-1] + 10):
        passive = passive | entering
        while True:
            part = np.where(passive[..., :, None] & passive[..., None, :], a, identity)
            z = np.linalg.solve(part, np.where(passive, b, 0.0)[..., None])[..., 0]
            blocking = passive & (z <= 0)
            if not blocking.any():
                x = z
                break
            # As far towards z as all stay positive; those that reach zero leave.
            ratio = np.where(blocking, x, 1.0) / np.where(blocking, np.maximum(x - z, _TINY), 1.0)
            least = ratio.min(-1, keepdims=True)
            passive = passive & ~(blocking & (ratio <= least))
            x = np.where(passive, np.maximum(x + least * (z - x), 0.0), 0.0)
        slope = b - x @ a
        entering = slope > 8 * _EPS * (largest[1] + largest[0] * x.sum(-1, keepdims=True))  # else by rounding only
        entering &= ~passive
        if not entering.any():
            return x
    raise ArithmeticError("no convergence in the nonnegative quadratic program")


def min_norm(gramian: Gramian) -> Array:
    """The w >= 0 of sum 1 with the smallest norm(J^T w): the point of the gradients' convex hull nearest to zero.

    With w = x / sum x it is the x >= 0 that minimises norm(J^T x)^2 + (sum x - 1)^2 (Lawson, Hanson, chapter 23.4,
    "least distance programming"), which has a solution for any G. Where gradients are zero, they share the weight.
    """
    if not gramian.live.all():
        return gramian.spread(np.zeros(gramian.live.sum()), 1 / np.sum(~gramian.live))
    s = gramian.lengths.min() / gramian.lengths  # of x to sum x, in the units of the shortest gradient
    y = nonnegative(gramian.definite + np.outer(s, s), s)
    w = y * s
    shares: Array = w / w.sum()
    return shares


def dual_cone(gramian: Gramian, u: Array) -> Array:
    """The w >= u for which J^T w is the projection of J^T u onto the dual cone {d: J d >= 0}; each `u` of [..., K].

    min norm(J^T w) with w >= u (Quinton, Rey 2024, proposition 1). A zero gradient keeps its u: it has no part in d.
    """
    d = gramian.lengths[gramian.live]
    w = u.copy()
    if len(d):
        w[..., gramian.live] += nonnegative(gramian.definite, -(d * u[..., gramian.live]) @ gramian.cosines) / d
    return w


def conflict_averse(gramian: Gramian, c: float) -> Array:
    """Weights of the d that maximises min_i g_i . d with norm(d - g0) <= c norm(g0), g0 the mean gradient.

    For a given level m the d nearest to g0 with J d >= m is g0 + J^T z, a nonnegative quadratic program in z; its
    distance from g0 is convex and rises with m, with slope sum(z) / distance. Newton's method from above finds the
    level at which the distance is c norm(g0). Where several d are best (0 lies in the convex hull of the gradients and
    the best level is 0), it is the one nearest to g0.
    """
    number, live, d = len(gramian.live), gramian.live, gramian.lengths[gramian.live]
    mean = np.full(number, 1 / number)
    along = gramian.cosines @ (d / number)  # of g0 on the unit gradients
    length = math.sqrt(max(float(d @ along) / number, 0.0))
    radius = c * length
    if radius == 0:
        return mean
    level = float((d * (along + radius)).min())  # no d of the ball does better
    if not live.all() or gramian.hull_has_zero():
        level = min(level, 0.0)
    definite = gramian.definite
    for _ in range(100):
        y = nonnegative(definite, (level / d - along) / radius) * radius
        distance = math.sqrt(max(float(y @ definite @ y), 0.0))
        if distance <= radius * (1 + 1e-10):
            return mean + gramian.spread(y / d)
        level -= (distance - radius) * distance / float((y / d).sum())
    raise ArithmeticError("no convergence in the level of the conflict-averse direction")


def fair(gramian: Gramian, alpha: float) -> Array:
    """The w > 0 with G w = w^(-1/alpha); `alpha` > 0. Its norm(J^T w) is sqrt(K) for alpha = 1.

    The stationary point of the convex w^T G w / 2 - sum w^(1-p) / (1-p), p = 1/alpha (sum log w for alpha = 1), by
    Newton's method in w times d^(2/(1+p)). A zero gradient leaves its task out (weight 0). Where 0 lies in the convex
    hull of the others there is no solution: all weights are 0, the point of disagreement.
    """
    p, d = 1 / alpha, gramian.lengths[gramian.live]
    if not len(d) or gramian.hull_has_zero():
        return np.zeros(len(gramian.live))
    # With w = d^(-2/(1+p)) y the equation is H y = e^2 y^-p, H = E C E; a common factor of the lengths drops out of e.
    e = (d / d.max()) ** ((p - 1) / (p + 1))
    h, pull = e[:, None] * gramian.cosines * e, e * e
    y = np.full(len(d), (pull.sum() / max(h.sum(), gramian.noise * pull.sum())) ** (1 / (1 + p)))
    for _ in range(200):
        force = pull * y**-p
        slope = h @ y - force
        if (abs(slope) <= 1e-10 * force + 4 * len(d) * np.finfo(np.float64).eps * (abs(h) @ y)).all():
            return gramian.spread(y * d ** (-2 / (1 + p)))
        # Newton's step relative to y, on a matrix scaled to a unit diagonal: its smallest eigenvalue is not small.
        curvature = y[:, None] * h * y + np.diag(p * force * y)
        scale = 1 / np.sqrt(np.diagonal(curvature))
        step = -scale * np.linalg.solve(scale[:, None] * curvature * scale, scale * y * slope)
        t = 1.0
        if (1 + p) * float(abs(step).max()) > 0.2:  # below, the curvature hardly changes along the step
            # Back from the boundary, and until the function falls along the step or has just passed its minimum.
            t = min(t, 0.9 / max(-float(step.min()), 0.9))
            descent = float(slope @ (y * step))
            while t > 1e-10:
                trial = y * (1 + t * step)
                if float((h @ trial - pull * trial**-p) @ (y * step)) <= -0.1 * descent:
                    break
                t /= 2
        y = y * (1 + t * step)
    raise ArithmeticError("no convergence in G w = w^(-1/alpha)")
