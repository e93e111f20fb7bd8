"""Optimizer groups, learning-rate schedules and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer


def build_optimizer(make: Callable[..., Optimizer], model: nn.Module, weighting: nn.Module, own_lr: float) -> Optimizer:
    """One optimizer with the network's parameters, and apart from them those of the weighting.

    The weighting's own parameters have a learning rate of their own and no weight decay, which would pull a learnt
    weight back to its start. Fused kernels: AdamW takes 7 instead of 26 ms for 11 million weights on a CPU.

    Args:
        make: `torch.optim.AdamW` or `torch.optim.SGD` with its options bound.
        own_lr: learning rate of the weighting's own parameters, `control.lr`.

    Raises:
        ValueError: an option that the optimizer refuses.
    """
    groups: list[dict[str, Any]] = [{"params": [p for p in model.parameters() if p.requires_grad]}]
    if own := [p for p in weighting.parameters() if p.requires_grad]:
        groups.append({"params": own, "lr": own_lr, "weight_decay": 0.0})
    try:
        return make(groups, fused=True)
    except (ValueError, TypeError) as error:
        raise ValueError(f"optimizer: {error}.") from error


class Schedule:
    """Sets the learning rates before each step: the base rate of each group times one factor for all."""

    def __init__(self, optimizer: Optimizer, num_steps: int, factor: Callable[[int, int], float]) -> None:
        self._factor, self._num_steps = factor, num_steps
        # Not the groups themselves: an optimizer that loads a checkpoint replaces them.
        self._optimizer, self._bases = optimizer, [float(group["lr"]) for group in optimizer.param_groups]

    def apply(self, step: int) -> float:
        """Set the rates for `step` (0-based, of all steps of the run); returns the network's."""
        factor = self._factor(step, self._num_steps)
        for group, base in zip(self._optimizer.param_groups, self._bases, strict=True):
            group["lr"] = base * factor
        return self._bases[0] * factor


def constant(step: int, num_steps: int) -> float:
    """1 at every step."""
    return 1.0


def cosine(step: int, num_steps: int) -> float:
    """Half a cosine from 1 at the first step to nearly 0 after the last."""
    return (1 + math.cos(math.pi * step / num_steps)) / 2


def one_cycle(step: int, num_steps: int, warmup: float) -> float:
    """Cosine up from 1/25 to 1 over the share `warmup` of the steps, cosine down to nearly 0 (Smith & Topin 2018).

    torch's OneCycleLR divides by zero when warmup x steps = 1; this holds for any number of steps, and agrees with it
    where warmup x steps is a whole number. Else the full rate falls on the nearest step instead of between two.
    """
    start, end = 1 / 25, 1e-4 / 25
    top = max(round(warmup * num_steps) - 1, 0)
    if step < top:
        return start + (1 - start) * (1 - math.cos(math.pi * step / top)) / 2
    position = (step - top) / max(num_steps - 1 - top, 1)
    return end + (1 - end) * (1 + math.cos(math.pi * position)) / 2


def gradient_norms(groups: Sequence[Sequence[Parameter]], device: torch.device) -> Tensor:
    """Norm of the gradient of each group [G]; 0 where a group has none."""
    norms = []
    for group in groups:
        gradients = [p.grad for p in group if p.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros((), device=device))
    return torch.stack(norms)


def clip_(parameters: Iterable[Parameter], norm: Tensor, limit: float) -> Tensor:
    """Scale gradients whose norm is `norm` to at most `limit`; the factor used, a 0-dim tensor."""
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    if gradients := [p.grad for p in parameters if p.grad is not None]:
        torch._foreach_mul_(gradients, factor)
    return factor
