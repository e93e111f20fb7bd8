"""Metrics as sums on the device: a batch adds to the sums, `compute` turns them into numbers once per epoch.

So a metric over ragged batches equals the metric over one big batch, and no step waits for the device.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: log(age) is divided by this wherever ages are compared on the logarithmic scale.
LOG_SCALE = 4.75

#: metric -> (unit, higher is better); the first metric of a kind is the one that the selection score uses.
METRICS: dict[str, tuple[str, bool]] = {
    "mae_years": ("years", False),
    "rmse_log": (f"log(age)/{LOG_SCALE}", False),
    "accuracy": ("fraction", True),
    "balanced_accuracy": ("fraction", True),
    "f1_macro": ("fraction", True),
}


class RegressionSums:
    """Sums behind `mae_years` and `rmse_log`; denominators are the pictures that have the label."""

    def __init__(self) -> None:
        self.sums: Tensor | None = None

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor) -> None:
        """Add a batch: `prediction` and `target` [B] in years, `mask` [B]."""
        import torch

        prediction, target = prediction.double(), target.double()
        # A prediction below one year has no meaningful logarithm; it is compared as one year.
        logs = (prediction.clamp(min=1).log() - target.clamp(min=1).log()) / LOG_SCALE
        # where, not boolean indexing, which would wait for the device.
        terms = torch.stack([(prediction - target).abs(), logs.square(), torch.ones_like(logs)])
        sums = torch.where(mask, terms, 0.0).sum(1)
        self.sums = sums if self.sums is None else self.sums + sums

    def compute(self) -> dict[str, float | None]:
        """`mae_years` and `rmse_log` (root mean square of the difference of log(age)/4.75); None without labels."""
        absolute, square, count = (0.0, 0.0, 0.0) if self.sums is None else self.sums.tolist()
        if not count:
            return {"mae_years": None, "rmse_log": None}
        return {"mae_years": absolute / count, "rmse_log": math.sqrt(square / count)}


class ClassSums:
    """The confusion matrix [true, predicted] behind `accuracy`, `balanced_accuracy` and `f1_macro`."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.sums: Tensor | None = None

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor) -> None:
        """Add a batch: class indices `prediction` and `target` [B], `mask` [B]."""
        import torch

        cells = target.long() * self.num_classes + prediction.long()
        if self.sums is None:
            self.sums = torch.zeros(self.num_classes**2, dtype=torch.long, device=cells.device)
        # A missing label's cell may be any: it adds 0. No bincount, which waits for the device.
        self.sums.index_add_(0, cells.clamp(0, self.num_classes**2 - 1), mask.long())

    def compute(self) -> dict[str, float | None]:
        """The three metrics as scikit-learn defines them, None without labels.

        Recall is averaged over the classes that occur, F1 over those that occur or are predicted.
        """
        if self.sums is None or not (total := int(self.sums.sum())):
            return {"accuracy": None, "balanced_accuracy": None, "f1_macro": None}
        cells = [int(cell) for cell in self.sums.tolist()]
        rows = [cells[start : start + self.num_classes] for start in range(0, len(cells), self.num_classes)]
        true = [sum(row) for row in rows]
        predicted = [sum(column) for column in zip(*rows, strict=True)]
        hits = [rows[c][c] for c in range(self.num_classes)]
        recalls = [hit / t for hit, t in zip(hits, true, strict=True) if t]
        f1 = [2 * h / (t + p) for h, t, p in zip(hits, true, predicted, strict=True) if t + p]
        return {
            "accuracy": sum(hits) / total,
            "balanced_accuracy": sum(recalls) / len(recalls),
            "f1_macro": sum(f1) / len(f1),
        }


def skill(metrics: dict[str, float | None], trivial: dict[str, float | None]) -> float | None:
    """Improvement on always guessing the training median or majority: 0 = no better, 1 = perfect.

    1 - MAE / MAE(median), or (accuracy - majority) / (1 - majority); None where the guess is already perfect.
    """
    if "mae_years" in metrics:
        ours, theirs = metrics["mae_years"], trivial["mae_years"]
        return None if ours is None or not theirs else 1 - ours / theirs
    ours, theirs = metrics["accuracy"], trivial["accuracy"]
    return None if ours is None or theirs is None or theirs == 1 else (ours - theirs) / (1 - theirs)


def score(metrics: dict[str, dict[str, float | None]], trivial: dict[str, dict[str, float | None]]) -> float | None:
    """Mean skill over the tasks where it is defined: the one selection rule for all methods."""
    skills = [s for name in metrics if (s := skill(metrics[name], trivial[name])) is not None]
    return sum(skills) / len(skills) if skills else None
