"""Controls against confounds: what else could explain a difference between weightings, the same for every method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Normalize = Literal["none", "sum_to_K", "match_sum_norm"]
Heads = Literal["raw", "weighted"]
Features = Literal["parameters", "representation"]


@dataclass(frozen=True)
class Control:
    """The node `control` of the config, its learning rate apart.

    Attributes:
        normalize: `sum_to_K` scales the effective weights so that they sum to the number of active tasks, as those of
            the plain sum do; `match_sum_norm` scales them so that the shared gradient is as long as that of the plain
            sum (a loss-based method then costs K backward passes, too). What cannot be scaled so, because the sum of
            the weights or a norm is not positive, is left as it is.
        heads: gradient of a head: that of its own loss (`raw`), or times the task's effective weight (`weighted`).
            None: as the method's authors have it, weighted for loss-based methods and raw for the others.
        features: what gradient-based methods compare: gradients of the shared `parameters`, or of the last shared
            `representation` [B, D] (Sener & Koltun 2018, MGDA-UB), which costs one pass through the backbone. Norms
            are those of what is compared.

    Raises:
        ValueError: a value that is none of these.
    """

    normalize: Normalize = "none"
    heads: Heads | None = None
    features: Features = "parameters"

    def __post_init__(self) -> None:
        for key, allowed in (("normalize", Normalize), ("features", Features)):
            if getattr(self, key) not in get_args(allowed):
                words = ", ".join(get_args(allowed))
                raise ValueError(f"control.{key}={getattr(self, key)}: expected one of {words}.")
        if self.heads not in (None, *get_args(Heads)):
            raise ValueError(f"control.heads={self.heads}: expected null, raw or weighted.")

    def factor(self, effective: Tensor, sum_norm: Tensor | None = None, update: Tensor | None = None) -> Tensor:
        """What the effective weights [A] are multiplied with, a 0-dim tensor.

        `sum_norm` is the norm of the plain sum of the gradients, `update` [n] the method's.
        """
        one = torch.ones((), dtype=effective.dtype, device=effective.device)
        if self.normalize == "sum_to_K":
            total = effective.sum()
            return torch.where(total > 0, len(effective) / total, one)
        if self.normalize == "match_sum_norm" and sum_norm is not None and update is not None:
            norm = torch.linalg.vector_norm(update)
            return torch.where((norm > 0) & (sum_norm > 0), sum_norm / norm, one).to(effective.dtype)
        return one
