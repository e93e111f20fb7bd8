"""Aligned-MTL: the gradients' principal components made equally long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting

_SCALES = ("min", "median", "rmse")


class AlignedMTL(Weighting):
    """Senushkin et al., "Independent Component Alignment for Multi-Task Learning", CVPR 2023, algorithm 1, by torchjd.

    w = sqrt(s) V L^(-1/2) V^T 1 with G = V L V^T, s the smallest, the median or the mean eigenvalue (`scale` min,
    median, rmse). The sum over the tasks as in the official code; torchjd's default is the mean, smaller by a factor K.
    Eigenvalues below K eps times the largest are left out, eps that of the dtype of the gradients: in float32 that
    drops what is shorter than 1/1700 of the longest (K = 3), which under `min` makes a jump. A zero gradient has
    weight 0, zero gradients only have 1.

    Raises:
        ValueError: another `scale`.
    """

    def __init__(self, tasks: Sequence[Task], scale: str) -> None:
        from torchjd.aggregation import AlignedMTLWeighting

        super().__init__(tasks)
        if scale not in _SCALES:
            raise ValueError(f"weighting.method.scale={scale}: expected one of {', '.join(_SCALES)}.")
        mode: Any = scale
        self.mean = AlignedMTLWeighting(scale_mode=mode)

    def weights(self, gramian: Tensor) -> Tensor:
        """The weights of G [A, A]."""
        weights: Tensor = len(gramian) * self.mean(gramian)
        return weights
