"""HydraNet: one backbone, one head per task.

Shapes everywhere in mtl: B pictures of a batch, K tasks, D features, W outputs of a head, N pictures of a set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from mtl.tasks import Task


class HydraNet(nn.Module):
    """Backbone, run once a step, and the heads of the tasks on its features."""

    def __init__(self, backbone: nn.Module, heads: dict[str, nn.Module]) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict(heads)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, 3, S, S] -> features [B, D] and K outputs [B, W_k]."""
        features = self.backbone(images)
        return features, [head(features) for head in self.heads.values()]

    def shared_parameters(self) -> list[Parameter]:
        """Trainable parameters of the backbone."""
        return [p for p in self.backbone.parameters() if p.requires_grad]

    def last_shared_parameters(self) -> list[Parameter]:
        """Trainable parameters of the backbone's last layer with a weight matrix or kernel (not a normalisation)."""
        last: list[Parameter] = []
        for module in self.backbone.modules():
            own = [p for p in module.parameters(recurse=False) if p.requires_grad]
            if any(p.dim() > 1 for p in own):
                last = own
        return last

    def head_parameters(self) -> list[list[Parameter]]:
        """Trainable parameters of each head."""
        return [[p for p in head.parameters() if p.requires_grad] for head in self.heads.values()]


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Inside, a forward pass in training mode normalises by its batch and leaves the running statistics alone."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._NormBase)]
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, was in zip(norms, tracked, strict=True):
            norm.track_running_stats = was


def build_model(
    tasks: Sequence[Task], backbone: Callable[[], nn.Module], head: Callable[[int, int], nn.Module], seed: int
) -> HydraNet:
    """A network whose modules start under their own seeds, so that a head starts the same in a single-task run.

    Args:
        backbone: makes the backbone, which has `num_features`.
        head: (num_features, width) -> head.
        seed: of the run.
    """
    with module_seed(seed, "backbone"):
        trunk = backbone()
    num_features = trunk.num_features
    assert isinstance(num_features, int)
    heads: dict[str, nn.Module] = {}
    for task in tasks:
        with module_seed(seed, f"heads.{task.name}"):
            heads[task.name] = head(num_features, task.width)
    return HydraNet(trunk, heads)


@contextmanager
def module_seed(seed: int, name: str) -> Iterator[None]:
    """Global generator seeded by (seed, name) inside, as before outside."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(digest[:15], 16))
        yield
