"""What an epoch of training adds up, without waiting for the device before its end."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mtl.conflict import summary
from mtl.tasks import Task

CHECK_EVERY = 50  # steps; each check waits for the device
_NEVER = 2**62


class EpochSums:
    """Losses, weights, training metrics and time of one epoch, summed step by step on the device.

    Together with the state of network, method and optimizer this is all that the rest of an epoch depends on: a run
    that is interrupted saves it and goes on in the middle of the epoch.
    """

    def __init__(self, tasks: Sequence[Task], device: torch.device) -> None:
        num = len(tasks)
        self.tasks, self.lr, self.steps = tasks, 0.0, 0
        self.metrics = [task.sums() for task in tasks]
        self._began, self._earlier = time.perf_counter(), 0.0
        self._counts = torch.zeros(num, dtype=torch.long)
        self._losses = torch.zeros(num, dtype=torch.float64, device=device)
        self._weights = torch.zeros(num, dtype=torch.float64, device=device)
        # First bad step of each loss, of the gradient of each head, and of the shared gradient.
        self._first_bad = torch.full((2 * num + 1,), _NEVER, dtype=torch.long, device=device)
        self._extra: dict[str, Tensor] = {}
        self._gramians: list[Tensor] = []

    @property
    def seconds(self) -> float:
        """Time spent on this epoch, by earlier processes too."""
        return self._earlier + time.perf_counter() - self._began

    def update(
        self,
        losses: Sequence[Tensor],
        weights: Tensor,
        norms: Tensor,
        active: list[bool],
        gramian: Tensor | None = None,
        **extra: Tensor | None,
    ) -> None:
        """Add a step.

        Args:
            losses: K losses.
            weights: effective weights [K].
            norms: of the gradients of the K heads and of the shared parameters [K + 1].
            active: which of the K tasks have a label in the batch.
            gramian: of the tasks' gradients [K, K], in a step that was probed.
            extra: other numbers of the step, to be averaged; None where it has none.
        """
        stacked = torch.stack([loss.detach() for loss in losses])
        bad = torch.where(torch.cat([stacked, norms]).isfinite(), _NEVER, self.steps)
        self._first_bad = torch.minimum(self._first_bad, bad)
        self.steps += 1
        self._counts += torch.tensor(active)
        self._losses += stacked  # the loss of an inactive task is 0
        self._weights += weights
        if gramian is not None:
            self._gramians.append(gramian)
        for key, value in ({"grad_norm": torch.linalg.vector_norm(norms)} | extra).items():
            if value is not None:
                self._extra[key] = self._extra.get(key, torch.zeros_like(value)) + value

    def check(self, epoch: int) -> None:
        """Look whether every loss and gradient so far was finite. Waits for the device.

        Raises:
            FloatingPointError: which one was not, and in which step; of several the first.
        """
        # After the first one the weights of the network are lost, so that is what the user must know.
        first_bad = self._first_bad.tolist()
        step = min(first_bad)
        if step == _NEVER:
            return
        place, num = first_bad.index(step), len(self.tasks)
        if place < num:
            what = f"the training loss of task '{self.tasks[place].name}'"
        elif place < 2 * num:
            what = f"the gradient of task '{self.tasks[place - num].name}'"
        else:
            what = "the gradient of the shared parameters"
        advice = "lower optimizer.lr or set train.clip=1"
        if place >= num:
            advice = "lower optimizer.lr; if a loss is negative, choose a weighting that takes such losses"
        raise FloatingPointError(f"{what} is not finite in epoch {epoch}, step {step}: {advice}")

    def compute(self, epoch: int) -> tuple[Tensor, dict[str, dict[str, float | None]], dict[str, float | None]]:
        """Mean losses [K], training metrics, and the training part of the history row.

        Raises:
            FloatingPointError: see `check`.
        """
        self.check(epoch)
        losses, weights = self._losses.cpu() / self._counts, self._weights.cpu() / self._counts
        total, defined = float(self._weights.sum()) / self.steps, float(weights.nansum())
        names = [task.name for task in self.tasks]
        metrics = {name: metric.compute() for name, metric in zip(names, self.metrics, strict=True)}
        row: dict[str, float | None] = {"epoch": epoch, "lr": self.lr}
        row |= {f"train/loss/{name}": _number(loss) for name, loss in zip(names, losses, strict=True)}
        row |= {f"train/{name}/{key}": value for name, values in metrics.items() for key, value in values.items()}
        row |= {f"weight/{name}": _number(weight) for name, weight in zip(names, weights, strict=True)}
        row |= {
            f"share/{name}": _number(weight / defined) if defined else None
            for name, weight in zip(names, weights, strict=True)
        }
        row |= {"weight/sum": _number(total)}
        row |= {key: _number(value / self.steps) for key, value in self._extra.items()}
        return losses, metrics, row | summary(self._gramians, names)

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, as tensors and plain numbers."""
        return {
            "steps": self.steps,
            "lr": self.lr,
            "seconds": self.seconds,
            "counts": self._counts,
            "losses": self._losses,
            "weights": self._weights,
            "extra": self._extra,
            "gramians": self._gramians,
            "metrics": [metric.sums for metric in self.metrics],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        device = self._losses.device
        self.steps, self.lr, self._earlier = state["steps"], state["lr"], state["seconds"]
        self._began = time.perf_counter()
        self._counts = state["counts"]
        self._losses, self._weights = state["losses"].to(device), state["weights"].to(device)
        self._extra = {key: value.to(device) for key, value in state["extra"].items()}
        self._gramians = [gramian.to(device) for gramian in state["gramians"]]
        for metric, sums in zip(self.metrics, state["metrics"], strict=True):
            metric.sums = None if sums is None else sums.to(device)


def _number(value: Tensor | float) -> float | None:
    """A finite float, or None: what is undefined is null in every file."""
    number = float(value)
    return number if math.isfinite(number) else None
