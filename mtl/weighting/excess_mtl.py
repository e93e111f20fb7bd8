"""Excess risks: tasks that are far from converged gain weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting

_EPS = 1e-7  # the official code's, under the root and beside the first excess


class ExcessMTL(Weighting):
    """He et al., "Robust Multi-Task Learning with Excess Risks", ICML 2024, algorithm 1.

    w_i <- w_i exp(robust_step_size E_i / E_i(0)), normalised to sum 1 (equation 9); E_i = sum g_i^2 / sqrt(sum over the
    steps of g_i^2), the excess risk by a diagonal second-order estimate (equation 7); E_i(0) is its mean over the first
    `warmup` steps of the task, in which weights stay equal. torchjd's `ExcessMTL` is the same for tasks that are always
    there, and is the second source of the tests; its state is neither loaded into a new object nor kept per task. Its
    defaults (step size 1, no warm-up, as in the official code) put all weight on one task within some steps.

    An inactive task keeps its weight, sums and count; the active ones share theirs anew. A zero gradient has no
    excess risk, and is no warm-up step. The squares are K times as large as the shared parameters, in checkpoints too.

    Raises:
        ValueError: `robust_step_size` not above 0, or `warmup` below 1.
    """

    def __init__(self, tasks: Sequence[Task], robust_step_size: float, warmup: int) -> None:
        super().__init__(tasks)
        if not 0 < robust_step_size < float("inf"):
            raise ValueError(f"weighting.method.robust_step_size={robust_step_size}: expected a finite number above 0.")
        if warmup < 1:
            raise ValueError(f"weighting.method.warmup={warmup}: expected a number of steps of at least 1.")
        self.robust_step_size, self.warmup = robust_step_size, warmup
        self.squares: Tensor | None = None  # [K, n], sums over the steps; n is known with the first gradients
        self.register_buffer("log_weights", torch.zeros(len(tasks)))
        self.register_buffer("first_excess", torch.zeros(len(tasks)))
        self.register_buffer("steps", torch.zeros(len(tasks), dtype=torch.int64))
        self.log_weights: Tensor
        self.first_excess: Tensor
        self.steps: Tensor

    def direction(self, jacobian: Tensor) -> Tensor:
        """sum w_i g_i of J [A, n]; moves the state of the active tasks."""
        if self.squares is None:
            self.squares = jacobian.new_zeros(len(self.tasks), jacobian.shape[1])
        self.squares = self.squares.to(jacobian.device)  # a checkpoint's is on the CPU
        excess = torch.stack([self._excess(row, k) for row, k in zip(jacobian, self.active, strict=True)])
        excess = excess.to(self.log_weights.dtype)
        at, live = self.at, excess != 0
        self.steps[at] += live
        warming = live & (self.steps[at] <= self.warmup)
        self.first_excess[at] += torch.where(warming, excess / self.warmup, 0.0)
        moved = self.log_weights[at] + self.robust_step_size * excess / (self.first_excess[at] + _EPS)
        moved = torch.where(warming.any(), self.log_weights[at], moved)
        # What the active tasks have together stays theirs.
        self.log_weights[at] = moved.log_softmax(0) + self.log_weights[at].logsumexp(0)
        update: Tensor = moved.softmax(0).to(jacobian.dtype) @ jacobian
        return update

    def _excess(self, gradient: Tensor, task: int) -> Tensor:
        assert self.squares is not None
        total = self.squares[task].addcmul_(gradient, gradient)
        return (gradient.square() / (total + _EPS).sqrt()).sum()

    def get_extra_state(self) -> dict[str, Any]:
        """The squared gradients, for checkpoints."""
        return {"squares": self.squares}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the squared gradients."""
        self.squares = state["squares"]
