"""Loss functions: (output, target, mask) -> scalar, the mean over the pictures that have the label.

B pictures, W outputs. `mask` [B] is True where the label is present; where it is False the target holds a harmless
number that must not reach the loss. No label at all gives 0 (the task is inactive and its loss is not used).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` [B] over the True entries of `mask` [B]; 0 when there is none."""
    # where, not a product: an infinite value behind a missing label must not turn into NaN.
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def l1(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error of `output` [B, 1] against `target` [B]."""
    return masked_mean((output[:, 0] - target).abs(), mask)


def mse(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of `output` [B, 1] against `target` [B]."""
    return masked_mean((output[:, 0] - target).square(), mask)


def cross_entropy(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Softmax cross-entropy of `output` [B, W] against class indices `target` [B]."""
    return masked_mean(F.cross_entropy(output, target.long(), reduction="none"), mask)


def binary_cross_entropy(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Logistic loss of the one logit `output` [B, 1] against `target` [B] in {0, 1}."""
    return masked_mean(F.binary_cross_entropy_with_logits(output[:, 0], target, reduction="none"), mask)
