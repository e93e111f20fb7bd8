"""What a weighting may look at in one training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import Parameter


def _no_forward(batch: str) -> list[Tensor]:
    raise ValueError(f"this step has no losses of '{batch}' to give")


@dataclass
class Step:
    """What a method may look at in one training step."""

    losses: list[Tensor]  # K separate 0-dim tensors in the order of the tasks; never stacked
    active: list[bool]  # False: no label of this task in the batch
    features: Tensor  # [B, D], the last shared representation
    shared: list[Parameter]  # trainable parameters of the backbone
    last_shared: list[Parameter]  # those of its last layer
    heads: list[list[Parameter]]  # trainable parameters of each task's head
    epoch: int
    index: int  # of the step within the epoch
    # Losses with the parameters as they are then, while the network's statistics stay: of this batch again ("same"), or
    # of a further one of the training pictures ("train"), another at each call
    forward: Callable[[str], list[Tensor]] = _no_forward
