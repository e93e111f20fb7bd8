"""Planted label noise and missing labels, so that the right answer of an experiment is known.

Only training labels are touched: validation and test stay clean. Regression labels get Gaussian noise with a standard
deviation in years; class labels are replaced, with a probability, by one of the other classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtl.tasks import Task


@dataclass(frozen=True)
class LabelNoise:
    """`level` per task, drawn once per picture (`fixed`) or anew at each visit (`fresh`)."""

    levels: tuple[float, ...]  # [K] standard deviation in years, or probability of a wrong class
    mode: str
    missing_rate: float  # probability that a training label is missing, each task on its own

    @classmethod
    def build(cls, tasks: Sequence[Task], levels: Mapping[str, float], mode: str, missing_rate: float) -> LabelNoise:
        """Check the values of `data.noise`, `data.noise_mode` and `data.missing_rate`.

        Raises:
            ValueError: which of them is wrong, and what was expected.
        """
        for task in tasks:
            level = levels.get(task.name, 0.0)
            top = float("inf") if task.kind == "regression" else 1.0
            if (
                isinstance(level, bool)
                or not isinstance(level, int | float)
                or not 0 <= level <= top
                or level == float("inf")
            ):
                rule = "years, at least 0" if task.kind == "regression" else "a probability from 0 to 1"
                raise ValueError(f"data.noise.{task.name}={level}: expected {rule}.")
        if mode not in ("fixed", "fresh"):
            raise ValueError(f"data.noise_mode={mode}: expected fixed or fresh.")
        if isinstance(missing_rate, bool) or not isinstance(missing_rate, int | float) or not 0 <= missing_rate < 1:
            raise ValueError(f"data.missing_rate={missing_rate}: expected a probability, at least 0 and below 1.")
        return cls(tuple(float(levels.get(task.name, 0.0)) for task in tasks), mode, float(missing_rate))

    def plant(self, labels: Tensor, names: Sequence[str], tasks: Sequence[Task]) -> Tensor:
        """Labels [N, K] with missing ones (NaN) and, if fixed, noise. A picture's draws depend on its name alone."""
        labels = labels.clone()
        for k, task in enumerate(tasks):
            if self.missing_rate:
                labels[_uniform(names, f"missing:{task.name}") < self.missing_rate, k] = float("nan")
            if self.mode == "fixed" and self.levels[k]:
                first = _uniform(names, f"noise:{task.name}")
                second = _uniform(names, f"which:{task.name}")
                labels[:, k] = _disturb(labels[:, k], task, self.levels[k], first, second)
        return labels

    def visit(self, labels: Tensor, tasks: Sequence[Task], generators: Sequence[torch.Generator]) -> Tensor:
        """Labels [B, K] of a batch with fresh noise, drawn from a generator per task; unchanged if it is fixed."""
        if self.mode == "fixed" or not any(self.levels):
            return labels
        labels = labels.clone()
        for k, task in enumerate(tasks):
            if self.levels[k]:
                draws = torch.rand(2, len(labels), generator=generators[k], dtype=torch.float64)
                labels[:, k] = _disturb(labels[:, k], task, self.levels[k], draws[0], draws[1])
        return labels


def _disturb(labels: Tensor, task: Task, level: float, first: Tensor, second: Tensor) -> Tensor:
    """Labels [B] moved by a normal number of years, or to another class; `first`, `second` uniform [B]."""
    if task.kind == "regression":
        # Box-Muller: one normal number from two uniform ones, the same for names and for generators.
        normal = torch.sqrt(-2 * torch.log1p(-first)) * torch.cos(2 * torch.pi * second)
        return labels + (level * normal).to(labels.dtype)
    num_classes = len(task.classes)
    other = (labels + 1 + (second * (num_classes - 1)).floor().to(labels.dtype)) % num_classes
    return torch.where(first < level, other, labels)


def _uniform(names: Sequence[str], salt: str) -> Tensor:
    digests = (hashlib.sha256(f"{salt}:{name}".encode()).digest()[:8] for name in names)
    integers = np.frombuffer(b"".join(digests), dtype=">u8").astype(np.float64)
    return torch.from_numpy(integers / 2.0**64)
