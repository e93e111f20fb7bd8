"""Losses, metrics and predictions of one part of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.data.loader import Loader
from mtl.model import HydraNet
from mtl.tasks import Task

Metrics = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Evaluation:
    """Metrics per task, mean losses per task, and a prediction per picture (CPU)."""

    metrics: Metrics
    losses: dict[str, float | None]
    indices: Tensor  # int64 [M], positions in the pack
    predictions: list[Tensor]  # per task [M]: years or class index
    probabilities: list[Tensor]  # per task [M, C], C = 0 for a regression


@torch.no_grad()
def evaluate(
    model: HydraNet, tasks: Sequence[Task], loader: Loader, device: torch.device, amp: bool = False
) -> Evaluation:
    """Run `model` over `loader` once; means are over pictures that have the label."""
    model.eval()
    sums = [task.sums() for task in tasks]
    losses = torch.zeros(2, len(tasks), dtype=torch.float64, device=device)
    indices: list[Tensor] = []
    predictions: list[list[Tensor]] = [[] for _ in tasks]
    probabilities: list[list[Tensor]] = [[] for _ in tasks]
    for batch in loader.epoch():
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            _, outputs = model(batch.images)
        indices.append(batch.indices)
        for k, (task, raw) in enumerate(zip(tasks, outputs, strict=True)):
            output, target, mask = raw.float(), batch.targets[:, k], batch.masks[:, k]
            prediction = task.predict(output)
            count = mask.sum()
            losses[0, k] += task.loss(output, target, mask) * count
            losses[1, k] += count
            sums[k].update(prediction, target, mask)
            predictions[k].append(prediction)
            probabilities[k].append(task.probabilities(output))
    total, counts = losses.tolist()
    return Evaluation(
        metrics={task.name: metric.compute() for task, metric in zip(tasks, sums, strict=True)},
        losses={task.name: t / c if c else None for task, t, c in zip(tasks, total, counts, strict=True)},
        indices=torch.cat(indices),
        predictions=[torch.cat(part).cpu() for part in predictions],
        probabilities=[torch.cat(part).cpu() for part in probabilities],
    )


def trivial(tasks: Sequence[Task], train_labels: Tensor, labels: Tensor) -> Metrics:
    """Metrics on `labels` [M, K] of always guessing the median or the majority class of `train_labels` [N, K]."""
    metrics: Metrics = {}
    for k, task in enumerate(tasks):
        known = train_labels[:, k][~train_labels[:, k].isnan()]
        if not len(known):
            raise ValueError(f"no training picture has a label of task '{task.name}'; leave it out of tasks=[...].")
        guess = known.quantile(0.5) if task.kind == "regression" else known.mode().values
        sums = task.sums()
        mask = ~labels[:, k].isnan()
        sums.update(guess.expand(len(labels)), torch.where(mask, labels[:, k], 1.0), mask)
        metrics[task.name] = sums.compute()
    return metrics
