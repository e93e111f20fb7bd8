"""Directions with equal projections on all unit gradients: IMTL-G and ConFIG. They differ in length alone."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from mtl.weighting.base import Weighting
from mtl.weighting.solvers import Array, Gramian, solve


class IMTLG(Weighting):
    """Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021, equation 2: the gradient half.

    w of sum 1, of any sign and size, with g_i / norm(g_i) . sum w_j g_j the same for all i. torchjd's default takes the
    pseudo-inverse of G, which leaves this condition where G is singular and in float32 drops gradients that are short
    beside the others; here the lengths are split off, and condition and sum are one linear system of K + 1 equations
    (least squares of least norm where even that is singular: parallel gradients).

    A task whose gradient is zero is left out (weight 0).
    """

    def weights(self, gramian: Tensor) -> Tensor:
        """The weights of G [A, A]."""
        return solve(_impartial, gramian)


def _impartial(gramian: Gramian) -> Array:
    d, number = gramian.lengths[gramian.live], int(gramian.live.sum())
    if not number:
        return np.zeros(len(gramian.live))
    short = d.min() / d
    system = np.ones((number + 1, number + 1))
    # C v = level, sum v short = 1, with v = w d / min d
    system[:-1, :-1], system[:-1, -1] = gramian.cosines, -1.0
    system[-1, :-1], system[-1, -1] = short, 0.0
    v = np.linalg.lstsq(system, np.eye(number + 1)[-1], rcond=gramian.noise)[0][:-1]
    return gramian.spread(v * short)


class ConFIG(Weighting):
    """Liu et al., "ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks", ICLR 2025, equation 2.

    d = (sum g_i . u) u, u the unit vector along the pseudo-inverse of the unit gradients times ones. In terms of G its
    weights are exact: v / d_i with C v = 1, times sum(g_i . u) / norm. torchjd and the official code take the
    pseudo-inverse of the matrix [K, n], whose cut-off grows with n: in float32 from n = 8.4 million on it is zero, and
    before that it loses directions.

    A task whose gradient is zero is left out (weight 0). Where gradients cancel, such that no direction has a
    positive projection on all, every weight is 0.
    """

    def weights(self, gramian: Tensor) -> Tensor:
        """The weights of G [A, A]."""
        return solve(_conflict_free, gramian)


def _conflict_free(gramian: Gramian) -> Array:
    d, cosines = gramian.lengths[gramian.live], gramian.cosines
    if not len(d):
        return np.zeros(len(gramian.live))
    v = np.linalg.pinv(cosines, rcond=gramian.noise, hermitian=True).sum(1)
    square = float(v @ cosines @ v)  # of the length of u before it is made a unit vector
    if square <= gramian.noise:
        return np.zeros(len(gramian.live))
    return gramian.spread(v / d * (d @ cosines @ v) / square)
