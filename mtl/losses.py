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


def smooth_l1(output: Tensor, target: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Mean of x^2 / (2 beta) for errors |x| < beta and |x| - beta / 2 beyond (Girshick, Fast R-CNN, ICCV 2015).

    `output` [B, 1] against `target` [B]; `beta` is in the target's units. Huber's loss divided by beta.
    """
    return masked_mean(F.smooth_l1_loss(output[:, 0], target, reduction="none", beta=beta), mask)


def gaussian_nll(output: Tensor, target: Tensor, mask: Tensor, spread: float) -> Tensor:
    """Mean of (x^2 / v + log(v / v_min)) / 2 of `output` [B, 2], a mean and log(v / spread^2), against `target` [B].

    The negative logarithm of a normal density whose variance v is predicted for each picture (Nix and Weigend 1994;
    its logarithm is what is predicted, as in Kendall and Gal, NeurIPS 2017, equation 8). Ours differs in three ways:
    - v is counted in `spread`s, about the error of an untrained network in the target's units: from v = 1 an error of
      30 years makes a first gradient of 450, and Adam, which remembers it, takes epochs to bring the variance back;
    - v is at least v_min = spread^2 e^-10: a picture that is fitted exactly would send it to 0 and the gradient, x / v,
      to infinity;
    - the value is counted from that of x = 0 and v_min, so that it is never negative: several weightings divide by a
      loss or take its logarithm. The gradient is the same.
    """
    lowest = -10.0
    log_variance = output[:, 1].clamp(min=lowest)
    error = (output[:, 0] - target) / spread
    return masked_mean((error.square() * torch.exp(-log_variance) + log_variance - lowest) / 2, mask)


def cross_entropy(output: Tensor, target: Tensor, mask: Tensor, label_smoothing: float) -> Tensor:
    """Softmax cross-entropy of `output` [B, W] against class indices `target` [B].

    `label_smoothing` in [0, 1) is the share of each label that is spread evenly over all classes (Szegedy et al.,
    CVPR 2016, section 7).
    """
    return masked_mean(F.cross_entropy(output, target.long(), reduction="none", label_smoothing=label_smoothing), mask)


def binary_cross_entropy(output: Tensor, target: Tensor, mask: Tensor, label_smoothing: float) -> Tensor:
    """Logistic loss of the one logit `output` [B, 1] against `target` [B] in {0, 1}.

    Smoothed as two classes are, so that one logit and two agree.
    """
    smooth = target * (1 - label_smoothing) + label_smoothing / 2
    return masked_mean(F.binary_cross_entropy_with_logits(output[:, 0], smooth, reduction="none"), mask)
