"""The training loop. It knows no method: a weighting fills the gradients and says which weights it used."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from mtl.data.loader import Loader
from mtl.model import HydraNet
from mtl.optim import Schedule, clip_
from mtl.tasks import Task
from mtl.weighting.base import Step, Weighting


@dataclass(frozen=True)
class TrainedEpoch:
    """What an epoch of training left: a flat history row, its means [K] and its time."""

    epoch: int
    row: dict[str, float | None]
    seconds: float
    num_steps: int


def fit(
    model: HydraNet,
    tasks: Sequence[Task],
    weighting: Weighting,
    loader: Loader,
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    epochs: range,
    device: torch.device,
    amp: bool = False,
    clip: float | None = None,
    on_step: Callable[[], None] = lambda: None,
    on_epoch: Callable[[TrainedEpoch], None] = lambda done: None,
) -> None:
    """Train over `epochs`; `on_epoch` evaluates, records and saves.

    Sums stay on the device until the epoch ends: no step waits for it.

    Args:
        amp: forward pass in bfloat16 where torch's autocast finds it safe.
        clip: largest norm of the network's gradient, None for no limit.
    """
    shared, last_shared, heads = (
        model.shared_parameters(),
        model.last_shared_parameters(),
        model.head_parameters(),
    )
    network = [p for p in model.parameters() if p.requires_grad]
    for epoch in epochs:
        model.train()
        started = time.perf_counter()
        sums = _Sums(tasks, device)
        for index, batch in enumerate(loader.epoch(epoch)):
            sums.lr = schedule.apply(epoch * len(loader) + index)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                features, outputs = model(batch.images)
            outputs = [output.float() for output in outputs]
            labels = [(batch.targets[:, k], batch.masks[:, k]) for k in range(len(tasks))]
            losses = [task.loss(output, *label) for task, output, label in zip(tasks, outputs, labels, strict=True)]
            step = Step(losses, batch.active, features, shared, last_shared, heads, epoch, index)
            weights = weighting.backward(step)
            factor = clip_(network, clip) if clip else None
            optimizer.step()
            weighting.after_step(step)
            sums.update(losses, weights, weighting.residual, factor, batch.active)
            with torch.no_grad():
                for metric, task, output, label in zip(sums.metrics, tasks, outputs, labels, strict=True):
                    metric.update(task.predict(output), *label)
            on_step()
        losses_mean, metrics, row = sums.compute(epoch)
        weighting.end_epoch(losses_mean, metrics)
        on_epoch(TrainedEpoch(epoch, row, time.perf_counter() - started, len(loader)))


class _Sums:
    """Sums over the steps of an epoch, on the device."""

    def __init__(self, tasks: Sequence[Task], device: torch.device) -> None:
        self.tasks, self.lr = tasks, 0.0
        self.metrics = [task.sums() for task in tasks]
        self._steps, self._counts = 0, torch.zeros(len(tasks), dtype=torch.long)
        self._losses = torch.zeros(len(tasks), dtype=torch.float64, device=device)
        self._weights = torch.zeros(len(tasks), dtype=torch.float64, device=device)
        self._extra: dict[str, Tensor] = {}

    def update(
        self,
        losses: list[Tensor],
        weights: Tensor,
        residual: Tensor | None,
        factor: Tensor | None,
        active: list[bool],
    ) -> None:
        self._steps += 1
        self._counts += torch.tensor(active)
        self._losses += torch.stack([loss.detach() for loss in losses])  # the loss of an inactive task is 0
        self._weights += weights
        for key, value in {"weight/residual": residual, "clip_factor": factor}.items():
            if value is not None:
                self._extra[key] = self._extra.get(key, torch.zeros_like(value)) + value

    def compute(self, epoch: int) -> tuple[Tensor, dict[str, dict[str, float | None]], dict[str, float | None]]:
        """Mean losses [K], training metrics, and the training part of the history row."""
        losses, weights = self._losses.cpu() / self._counts, self._weights.cpu() / self._counts
        total = float(self._weights.sum()) / self._steps
        names = [task.name for task in self.tasks]
        for name, loss, count in zip(names, losses.tolist(), self._counts.tolist(), strict=True):
            if count and not math.isfinite(loss):
                raise FloatingPointError(
                    f"the training loss of task '{name}' is not finite in epoch {epoch}: "
                    "lower optimizer.lr or set train.clip=1"
                )
        metrics = {name: metric.compute() for name, metric in zip(names, self.metrics, strict=True)}
        row: dict[str, float | None] = {"epoch": epoch, "lr": self.lr}
        row |= {f"train/loss/{name}": _number(loss) for name, loss in zip(names, losses, strict=True)}
        row |= {f"train/{name}/{key}": value for name, values in metrics.items() for key, value in values.items()}
        row |= {f"weight/{name}": _number(weight) for name, weight in zip(names, weights, strict=True)}
        row |= {
            f"share/{name}": _number(weight / total) if total else None
            for name, weight in zip(names, weights, strict=True)
        }
        row |= {"weight/sum": _number(total)}
        row |= {key: _number(value / self._steps) for key, value in self._extra.items()}
        return losses, metrics, row


def _number(value: Tensor | float) -> float | None:
    """A finite float, or None: what is undefined is null in every file."""
    number = float(value)
    return number if math.isfinite(number) else None
