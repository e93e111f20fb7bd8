"""A batch: pictures, labels, and which labels are there."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B pictures and their K labels."""

    images: Tensor  # float32 [B, 3, S, S], normalised
    targets: Tensor  # float32 [B, K]: years or class index; a harmless 1 where missing
    masks: Tensor  # bool [B, K]: the label is there
    active: list[bool]  # [K]: any label of the task in this batch, known without asking the device
    indices: Tensor  # int64 [B] on the CPU: positions in the pack
