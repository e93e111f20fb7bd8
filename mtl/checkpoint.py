"""Checkpoints that load with `weights_only=True`: tensors and plain Python only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from mtl.rundir import RunDir


def save_best(run: RunDir, model: nn.Module, epoch: int, score: float | None) -> None:
    """Write best.pt: the network as of the best validation epoch so far."""
    with run.replacing("best.pt") as path:
        torch.save({"model": model.state_dict(), "epoch": epoch, "score": score}, path)


def save_last(run: RunDir, epoch: int, model: nn.Module, weighting: nn.Module, optimizer: Optimizer) -> None:
    """Write last.pt: all that the epochs after `epoch` depend on."""
    state = {
        "epoch": epoch,
        "model": model.state_dict(),
        "weighting": weighting.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": torch.get_rng_state(),
        "cuda_generators": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    with run.replacing("last.pt") as path:
        torch.save(state, path)


def load_last(run: RunDir, model: nn.Module, weighting: nn.Module, optimizer: Optimizer) -> int:
    """Restore what `save_last` wrote; the number of finished epochs, 0 if there is no last.pt."""
    path = run.path / "last.pt"
    if not path.is_file():
        return 0
    state = load(path)
    model.load_state_dict(state["model"])
    weighting.load_state_dict(state["weighting"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["generator"])
    if state["cuda_generators"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda_generators"])
    return int(state["epoch"]) + 1


def load(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
