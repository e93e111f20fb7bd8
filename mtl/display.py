"""What a run shows while it works: a row per epoch, and on a terminal a live bar below them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from mtl.screen import Screen

#: Title of a group of columns, and (label, history key) of each column.
Group = tuple[str, list[tuple[str, str]]]

HEADER_EVERY = 40  # rows
PLAIN_EVERY = 10.0  # seconds


class Display:
    """Progress of one run, to be used as a context.

    Args:
        run: Name of the run.
        epochs: Epochs of the whole run.
        steps: Steps of one epoch.
        done_steps: Steps that an earlier process has done.
    """

    def __init__(self, run: str, epochs: int, steps: int, done_steps: int = 0) -> None:
        self.epochs, self.steps = epochs, steps
        job = os.environ.get("MTL_STUDY_JOB", "")
        self._title = f"{run}  job {job}" if job else run
        self._prefix = f"job {job}  " if job else ""
        self._groups: list[Group] = []
        self._num_rows = 0
        self._screen = Screen(epochs * steps, done_steps)
        self._name_epoch(done_steps // steps)

    def __enter__(self) -> Self:
        self._screen.open()
        self._screen.line(self._title, "bold")
        return self

    def __exit__(self, *_: object) -> None:
        self._screen.close()

    def step(self) -> None:
        """Count a training step."""
        self._screen.done += 1

    def epoch(self, row: Mapping[str, Any], seconds: float) -> None:
        """Print the row of a finished epoch (a history row; its `epoch` counts from 0)."""
        finished = int(row["epoch"]) + 1
        self._screen.done = finished * self.steps
        self._name_epoch(finished)
        if os.environ.get("MTL_POOL") == "lines":  # amid those of other jobs a row of numbers says nothing
            self._screen.line(sentence(row, self.epochs, seconds))
            return
        if self._num_rows % HEADER_EVERY == 0:
            self._groups = fit(groups(row, left=not self._screen.terminal), self._screen.width())
            for heading in headings(self._groups):
                self._screen.line(heading, "dim")
        self._num_rows += 1
        texts = {"epoch": f"{finished}/{self.epochs}", "seconds": f"{seconds:.1f}"}
        self._screen.line(aligned(self._groups, {**row, **texts, "left": self._screen.left()}))

    def note(self, text: str) -> None:
        """Print a remark."""
        self._screen.line(text, "yellow", wrap=True)

    def _name_epoch(self, finished: int) -> None:
        self._screen.label = f"{self._prefix}epoch {min(finished + 1, self.epochs)}/{self.epochs}"


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A function (done, total) that shows how far a long preparation is; never called, it shows nothing."""
    screen = Screen(0)
    screen.label = title
    started = spoken = time.monotonic()
    opened = False

    def show(done: int, total: int) -> None:
        nonlocal opened, spoken
        screen.done, screen.total = done, total
        if not opened:
            opened = True
            screen.open()
        if not screen.terminal and time.monotonic() - spoken >= PLAIN_EVERY:
            spoken = time.monotonic()
            screen.line(f"{title}: {done:,} of {total:,}, {screen.left()} left")

    try:
        yield show
    finally:
        screen.close()
    if opened:
        screen.line(f"{title}: {screen.done:,} in {time.monotonic() - started:.1f} s")


def groups(row: Mapping[str, Any], left: bool) -> list[Group]:
    """The columns for a history row; of a task's validation metrics the first, which the score uses."""
    tasks = [key.removeprefix("train/loss/") for key in row if key.startswith("train/loss/")]
    metrics = {task: next((key for key in row if key.startswith(f"val/{task}/")), "") for task in tasks}
    last = [("score", "val/score"), ("s", "seconds")]
    return [
        ("", [("epoch", "epoch")]),
        ("loss", [(task, f"train/loss/{task}") for task in tasks]),
        ("weight", [(task, f"weight/{task}") for task in tasks]),
        ("val", [(f"{task} {key.rpartition('/')[2][:3]}", key) for task, key in metrics.items() if key]),
        ("", [*last, ("left", "left")] if left else last),
    ]


def fit(found: list[Group], width: int | None) -> list[Group]:
    """The groups without those that a line of `width` has no room for."""
    for title in ("val", "loss", "weight"):
        if width is not None and len(headings(found)[1]) > width:
            found = [group for group in found if group[0] != title]
    return found


def headings(found: list[Group]) -> tuple[str, str]:
    """The line of group titles and the line of column labels."""
    labels = [" ".join(aligned_cell(label, label, key) for label, key in columns) for _, columns in found]
    titles = [
        f" {title} ".center(len(text), "-") if title else " " * len(text)
        for (title, _), text in zip(found, labels, strict=True)
    ]
    return "   ".join(titles).rstrip(), "   ".join(labels)


def aligned(found: list[Group], values: Mapping[str, Any]) -> str:
    """A line of values under their labels."""
    return "   ".join(
        " ".join(aligned_cell(values.get(key), label, key) for label, key in columns) for _, columns in found
    )


def aligned_cell(value: float | str | None, label: str, key: str) -> str:
    """A value, right-aligned in its column; `-` where it is undefined."""
    if value is None:
        text = "-"
    elif isinstance(value, str):
        text = value
    else:
        text = f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"
    return text.rjust(max(len(label), 6 if "/" in key else 5))


def sentence(row: Mapping[str, Any], epochs: int, seconds: float) -> str:
    """A history row in a line that needs no headings."""
    score = row.get("val/score")
    parts = [f"epoch {int(row['epoch']) + 1}/{epochs}", "score " + ("-" if score is None else f"{score:.3f}")]
    for title, columns in groups(row, left=False)[1:-1]:
        values = [f"{label} {row[key]:.3g}" for label, key in columns if row.get(key) is not None]
        parts.append(f"{title} {' '.join(values)}")
    return "  ".join([*parts, f"{seconds:.1f} s"])
