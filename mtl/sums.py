"""What an epoch of training adds up, without waiting for the device before its end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mtl.tasks import Task

_NEVER = 2**62


class EpochSums:
    """Losses, weights and training metrics of an epoch, summed step by step on the device."""

    def __init__(self, tasks: Sequence[Task], device: torch.device) -> None:
        self.tasks, self.lr = tasks, 0.0
        self.metrics = [task.sums() for task in tasks]
        self._steps, self._counts = 0, torch.zeros(len(tasks), dtype=torch.long)
        self._losses = torch.zeros(len(tasks), dtype=torch.float64, device=device)
        self._weights = torch.zeros(len(tasks), dtype=torch.float64, device=device)
        self._first_bad = torch.full((len(tasks),), _NEVER, dtype=torch.long, device=device)
        self._extra: dict[str, Tensor] = {}

    def update(
        self,
        losses: list[Tensor],
        weights: Tensor,
        residual: Tensor | None,
        factor: Tensor | None,
        active: list[bool],
    ) -> None:
        """Add a step: K losses, weights [K], and what else the step left."""
        stacked = torch.stack([loss.detach() for loss in losses])
        bad = torch.where(stacked.isfinite(), _NEVER, self._steps)
        self._first_bad = torch.minimum(self._first_bad, bad)
        self._steps += 1
        self._counts += torch.tensor(active)
        self._losses += stacked  # the loss of an inactive task is 0
        self._weights += weights
        for key, value in {"weight/residual": residual, "clip_factor": factor}.items():
            if value is not None:
                self._extra[key] = self._extra.get(key, torch.zeros_like(value)) + value

    def compute(self, epoch: int) -> tuple[Tensor, dict[str, dict[str, float | None]], dict[str, float | None]]:
        """Mean losses [K], training metrics, and the training part of the history row."""
        losses, weights = self._losses.cpu() / self._counts, self._weights.cpu() / self._counts
        total, defined = float(self._weights.sum()) / self._steps, float(weights.nansum())
        names = [task.name for task in self.tasks]
        # Once one loss is not finite all weights are lost, so the first one is what the user must know.
        first_bad = self._first_bad.tolist()
        if (first := min(first_bad)) < _NEVER:
            name = names[first_bad.index(first)]
            raise FloatingPointError(
                f"the training loss of task '{name}' is not finite in epoch {epoch}, step {first}: "
                "lower optimizer.lr or set train.clip=1"
            )
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
        row |= {key: _number(value / self._steps) for key, value in self._extra.items()}
        return losses, metrics, row


def _number(value: Tensor | float) -> float | None:
    """A finite float, or None: what is undefined is null in every file."""
    number = float(value)
    return number if math.isfinite(number) else None
