"""Multiple gradient descent: the point of the gradients' convex hull nearest to zero."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.solvers import Array, Gramian, min_norm, solve

_NORMALIZE = ("none", "l2", "loss", "loss+")


class MGDA(Weighting):
    """Desideri, "Multiple-gradient descent algorithm", 2012; Sener, Koltun, NeurIPS 2018, equation 3.

    w >= 0 of sum 1 with the smallest norm(sum w_i g_i / n_i), n_i = 1, norm(g_i), L_i or L_i norm(g_i) for
    `normalize` none, l2, loss, loss+. As in the official code the update is sum w_i g_i, of the gradients as they are
    (LibMTL's is of the normalised ones). Solved exactly; the usual Frank-Wolfe iterations stop up to 24 % away, and
    codes that bound the line search miss vertices by 1e-3.

    A gradient that is zero is the nearest point: its task has weight 1 and the shared parameters rest (several share
    the weight). A loss of 0 counts as 1e-12; the weight of a negative one, which cannot be divided by, is NaN.

    Raises:
        ValueError: another `normalize`.
    """

    def __init__(self, tasks: Sequence[Task], normalize: str) -> None:
        super().__init__(tasks)
        if normalize not in _NORMALIZE:
            raise ValueError(f"weighting.method.normalize={normalize}: expected one of {', '.join(_NORMALIZE)}.")
        self.normalize = normalize

    def weights(self, gramian: Tensor) -> Tensor:
        """The weights of G [A, A]; of the losses too where `normalize` says so."""
        return solve(self._solve, gramian)

    def _solve(self, gramian: Gramian) -> Array:
        losses = np.ones(len(gramian.lengths))
        if self.normalize in ("loss", "loss+"):
            losses = self.losses.double().cpu().numpy()
        # Dividing a gradient by a number changes its length alone.
        lengths = gramian.live.astype(np.float64) if self.normalize in ("l2", "loss+") else gramian.lengths
        gramian.lengths = lengths / np.maximum(losses, 1e-12)
        return np.where(losses < 0, np.nan, min_norm(gramian))
