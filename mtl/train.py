"""The training loop. It knows no method: a weighting fills the gradients and says which weights it used."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.optim import Optimizer

from mtl.data.loader import Loader
from mtl.model import HydraNet
from mtl.optim import Schedule, clip_
from mtl.sums import EpochSums
from mtl.tasks import Task
from mtl.weighting.base import Step, Weighting


@dataclass(frozen=True)
class TrainedEpoch:
    """What an epoch of training left: the training part of its history row and its time."""

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
    shared, last_shared, heads = model.shared_parameters(), model.last_shared_parameters(), model.head_parameters()
    network = [p for p in model.parameters() if p.requires_grad]
    for epoch in epochs:
        model.train()
        started = time.perf_counter()
        sums = EpochSums(tasks, device)
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
