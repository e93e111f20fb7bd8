"""Checkpoints that load with `weights_only=True`: tensors and plain Python only.

last.pt is all that the rest of a run depends on, the rows of its records included; best.pt is the network of the best
validation epoch so far. Before either is replaced, the pair before it is kept as previous.pt and previous-best.pt, so
that a damaged file costs an epoch and not the run.
"""

from __future__ import annotations

import math
import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from mtl.rundir import RunDir, describe

FORMAT = 2
RECORDS = ("history.jsonl", "timing.jsonl")


class Damaged(Exception):
    """A checkpoint that cannot be used; the message says why."""


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        epochs: finished epochs.
        sums: of the epoch under way (`EpochSums.state_dict`), None at its start.
        note: what went wrong with the checkpoints, None if nothing did.
    """

    epochs: int = 0
    sums: dict[str, Any] | None = None
    note: str | None = None
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one run, and the objects whose state they hold."""

    def __init__(self, run: RunDir, model: nn.Module, weighting: nn.Module, optimizer: Optimizer) -> None:
        self.run, self.model, self.weighting, self.optimizer = run, model, weighting, optimizer

    def save(self, epochs: int, sums: dict[str, Any] | None = None) -> None:
        """Write last.pt after `epochs` finished epochs, or amid the next one with its `sums`; best.pt if it is due."""
        state = {
            "format": FORMAT,
            "epochs": epochs,
            "sums": sums,
            "records": {name: self.run.rows(name) for name in RECORDS},
            "model": self.model.state_dict(),
            "weighting": self.weighting.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": torch.get_rng_state(),
            "cuda_generators": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        # First, so that at most two checkpoints lie on the disk; until the new one is there both names mean the last.
        self._link("best.pt", "previous-best.pt")
        self._link("last.pt", "previous.pt")
        with self.run.replacing("last.pt") as path:
            torch.save(state, path)
        # After last.pt: if the process dies between the two, the network of this epoch is still at hand.
        if sums is None:
            self._save_best_if_due(epochs)

    def load(self) -> Progress:
        """Restore the latest checkpoint that is whole, and the run's records as they were then.

        Without any, the records are emptied and the run starts anew.

        Raises:
            ValueError: a whole checkpoint holds other parts than this code builds.
        """
        notes = []
        for name in ("last.pt", "previous.pt"):
            if (self.run.path / name).exists():
                try:
                    progress = self._restore(name)
                except Damaged as damage:
                    notes.append(f"{name} cannot be used ({damage})")
                    continue
                self._link(name, "last.pt")
                progress.note = f"{'; '.join(notes)}: going on from {name}" if notes else None
                return progress
        for record in RECORDS:
            self.run.keep(record, [])
        return Progress(note=f"{'; '.join(notes)}: starting anew" if notes else None)

    def remove(self, keep: str) -> None:
        """Delete what a finished run does not `keep`: best, last (both) or none."""
        kept = {"best": ["best.pt"], "last": ["best.pt", "last.pt"], "none": []}[keep]
        for name in ("best.pt", "last.pt", "previous.pt", "previous-best.pt"):
            if name not in kept:
                self.run.remove(name)

    def _restore(self, name: str) -> Progress:
        state = load(self.run.path / name)
        if state.get("format") != FORMAT:
            raise Damaged("of another version")
        self._find_best(state)
        try:
            self.model.load_state_dict(state["model"])
            self.weighting.load_state_dict(state["weighting"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"{self.run.path / name} does not fit this version of the code ({reason}): move that folder away."
            ) from error
        torch.set_rng_state(state["generator"])
        if state["cuda_generators"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_generators"])
        for record in RECORDS:
            self.run.keep(record, state["records"][record])
        if state["sums"] is None:
            self._save_best_if_due(state["epochs"])
        return Progress(state["epochs"], state["sums"])

    def _find_best(self, state: dict[str, Any]) -> None:
        """Let best.pt be the one that belongs to `state`."""
        wanted = best_epoch(state["records"]["history.jsonl"])
        if wanted is None or (wanted == state["epochs"] - 1 and state["sums"] is None):
            return  # none yet, or `state` itself holds it
        for name in ("best.pt", "previous-best.pt"):
            try:
                if load(self.run.path / name)["epoch"] == wanted:
                    self._link(name, "best.pt")
                    return
            except Damaged:
                continue
        raise Damaged(f"the best network so far, that of epoch {wanted}, is lost")

    def _save_best_if_due(self, epochs: int) -> None:
        history = self.run.rows("history.jsonl")
        if best_epoch(history) == epochs - 1:
            state = {"model": self.model.state_dict(), "epoch": epochs - 1, "score": history[-1]["val/score"]}
            with self.run.replacing("best.pt") as path:
                torch.save(state, path)

    def _link(self, name: str, other: str) -> None:
        """Let `other` be the file `name`, if that exists: a second name where possible, no copy."""
        source = self.run.path / name
        if name != other and source.exists():
            with self.run.replacing(other) as path:
                try:
                    os.link(source, path)
                except OSError:  # a file system without links
                    shutil.copyfile(source, path)


def best_epoch(history: Sequence[dict[str, Any]]) -> int | None:
    """The epoch of the highest validation score, of several the first; None without epochs."""
    scores = [-math.inf if row["val/score"] is None else row["val/score"] for row in history]
    return history[scores.index(max(scores))]["epoch"] if scores else None


def load(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU.

    Raises:
        Damaged: it is missing, cut short or changed.
    """
    try:
        # torch does not compare the checksums that it writes.
        with zipfile.ZipFile(path) as archive:
            if bad := archive.testzip():
                raise Damaged(f"its part {bad} is damaged")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Damaged:
        raise
    except Exception as error:  # what damaged bytes raise inside zipfile, pickle and torch is not documented
        raise Damaged(describe(error)) from error
    return state
