"""Homoscedastic uncertainty weighting, aware of what each loss is the likelihood of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtl.tasks import Task
from mtl.weighting.base import Weighting

# likelihood -> (factor of e^-s L, factor of s, whether there is an s)
_FORMS = {
    "gaussian": (0.5, 0.5, 1.0),
    "laplace": (1.0, 1.0, 1.0),
    "softmax": (1.0, 0.5, 1.0),
    "learnt": (1.0, 0.0, 0.0),
}


class Uncertainty(Weighting):
    """Kendall, Gal, Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses", CVPR 2018.

    One learnt s per task, from 0. Gaussian likelihood (squared error), s = log sigma^2: L e^-s / 2 + s / 2, their
    equation 5. Laplace (absolute error), s = log b: L e^-s + s, the same argument with the density e^(-|x|/b) / 2b.
    Softmax and binary cross-entropy: L e^-s + s / 2, their equation 10. The optima are s = log L, log L and log 2L.
    Smooth L1 counts as Laplace, whose density it follows beyond its beta; where all errors are far smaller it is a
    squared error, and the form with s / 2 would give it half the weight. A Gaussian likelihood whose variance the head
    predicts (`nll`) enters the joint likelihood as it is, with weight 1: a further scale could not be told from the
    predicted one. So its s stays 0.

    The untyped form of torchjd and LibMTL uses one half everywhere (`uncertainty_untyped`); LibMTL starts at
    s = -0.5 and decays it. The total can be negative.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks)
        forms = torch.tensor([_FORMS[task.likelihood] for task in tasks])
        self.log_scale = nn.Parameter(torch.zeros(len(tasks)))
        self.register_buffer("precision_factor", forms[:, 0], persistent=False)
        self.register_buffer("log_factor", forms[:, 1], persistent=False)
        self.register_buffer("has_scale", forms[:, 2], persistent=False)
        self.precision_factor: Tensor
        self.log_factor: Tensor
        self.has_scale: Tensor

    def total(self, losses: Tensor) -> Tensor:
        """sum f_i e^-s_i L_i + h_i s_i over the active tasks."""
        s = self.log_scale[self.at] * self.has_scale[self.at]
        return (self.precision_factor[self.at] * torch.exp(-s) * losses + self.log_factor[self.at] * s).sum()
