"""Gradient surgery: each gradient loses its conflicting part with the others, in random order."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mtl.weighting.base import Weighting
from mtl.weighting.solvers import Array, Gramian, solve


class PCGrad(Weighting):
    """Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, algorithm 1; the update is the sum.

    On the Gramian alone, all gradients at once: torchjd's pairs, one by one, take 2 ms for 12 tasks. Orders are drawn
    as torchjd draws them, from the global generator.
    """

    def weights(self, gramian: Tensor) -> Tensor:
        """The weights of G [A, A]."""
        return solve(_surgery, gramian, orders(len(gramian)))


def orders(number: int) -> Array:
    """For each of `number` gradients, the others in random order [number, number - 1]."""
    drawn = (torch.randperm(number).tolist() for _ in range(number))
    others = [[j for j in order if j != i] for i, order in enumerate(drawn)]
    return np.array(others, dtype=int).reshape(number, max(number - 1, 0))


def _surgery(gramian: Gramian, orders: Array) -> Array:
    # On unit gradients: row i holds the parts of the i-th changed gradient.
    cosines = np.zeros((len(gramian.live),) * 2)
    cosines[np.ix_(gramian.live, gramian.live)] = gramian.cosines
    parts, rows = np.eye(len(cosines)), np.arange(len(cosines))
    for other in orders.T:
        parts[rows, other] -= np.minimum((parts * cosines[other]).sum(1), 0)
    lengths = np.where(gramian.live, gramian.lengths, 1.0)
    weights: Array = (lengths[:, None] * parts).sum(0) / lengths
    return weights
