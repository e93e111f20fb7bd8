"""Learnt numbers that a method moves itself, outside the optimizer of the run."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn


class Learnt(nn.Module):
    """One number per task with its own Adam (Kingma, Ba, ICLR 2015; torch's defaults) or plain gradient descent.

    All is in buffers: it is saved, it moves with the module, and no optimizer finds it. Every number counts its own
    steps, so that nothing of an inactive task moves. `weight_decay` is added to the gradient, as in torch's `Adam`.
    """

    def __init__(
        self, num: int, start: float, lr: float, weight_decay: float = 0.0, rule: Literal["adam", "sgd"] = "adam"
    ) -> None:
        super().__init__()
        self.lr, self.weight_decay, self.rule = lr, weight_decay, rule
        self.register_buffer("value", torch.full((num,), start))
        for name in ("mean", "square", "steps"):
            self.register_buffer(name, torch.zeros(num))
        self.value: Tensor
        self.mean: Tensor
        self.square: Tensor
        self.steps: Tensor

    def step(self, at: slice | list[int], gradient: Tensor) -> None:
        """Move the values at `at` against `gradient` [A]."""
        gradient = gradient + self.weight_decay * self.value[at]
        if self.rule == "adam":
            self.steps[at] += 1
            self.mean[at] = 0.9 * self.mean[at] + 0.1 * gradient
            self.square[at] = 0.999 * self.square[at] + 0.001 * gradient.square()
            # expm1: 1 - 0.999^t loses half its digits in float32.
            mean = self.mean[at] / -torch.expm1(math.log(0.9) * self.steps[at])
            square = self.square[at] / -torch.expm1(math.log(0.999) * self.steps[at])
            gradient = mean / (square.sqrt() + 1e-8)
        self.value[at] -= self.lr * gradient
