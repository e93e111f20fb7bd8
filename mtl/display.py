"""What a run shows while it works: a row per epoch, and on a terminal a live bar below them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Literal, Self, TextIO

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

#: Title of a group of columns, and (label, history key) of each column.
Group = tuple[str, list[tuple[str, str]]]

HEADER_EVERY = 40  # rows
PLAIN_EVERY = 10.0  # seconds
DRAW_EVERY = 0.25  # seconds


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


class Screen:
    """Lines for good, above a bar of `total` steps where the output is a terminal.

    A step only has to raise `done`: a thread of its own draws the bar. rich's own thread is not used, because now and
    then it draws in the midst of a line that this one prints.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self.total, self.done, self.label = total, done, ""
        self._first, self._since = done, time.monotonic()
        self._output = Output(sys.stdout)
        self._live: Live | None = None
        self._thread = Thread(target=self._draw, daemon=True)
        self._lock, self._closed = Lock(), Event()
        self.terminal = self._output.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")

    def open(self, thread: bool = True) -> None:
        """Show the bar from now on; without a `thread` of its own somebody else must refresh it."""
        self._since = time.monotonic()
        if self.terminal:
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._output, force_terminal=True, highlight=False)  # type: ignore[arg-type]
            # What goes to stderr is shown above the bar, unless the user sent it elsewhere.
            stderr = sys.stderr.isatty()
            self._live = Live(self, console=console, auto_refresh=False, transient=True, redirect_stderr=stderr)
            self._live.start()
            if thread:
                self._thread.start()

    def close(self) -> None:
        """Take the bar away."""
        if self._live is not None:
            self._closed.set()
            if self._thread.is_alive():
                self._thread.join()
            self._live.stop()
            self._live = None

    def _draw(self) -> None:
        while self._live is not None and not self._closed.wait(DRAW_EVERY):
            with self._lock:
                self._live.refresh()

    def width(self) -> int | None:
        """Columns of the terminal; None where a line may have any length."""
        return None if self._live is None else self._live.console.width

    def line(self, text: str, style: str = "", wrap: bool = False) -> None:
        """Print a line, which is cut at the width of the terminal unless it may `wrap`."""
        if self._live is None:
            self._output.write(text.rstrip() + "\n")
            self._output.flush()
        else:
            from rich.text import Text

            overflow: Literal["fold", "ellipsis"] = "fold" if wrap else "ellipsis"
            with self._lock:
                self._live.console.print(Text(text, style), no_wrap=not wrap, overflow=overflow)

    def left(self) -> str:
        """Time left at the mean pace so far; empty while there is no pace."""
        if self.done <= self._first:
            return ""
        pace = (time.monotonic() - self._since) / (self.done - self._first)
        return clock(pace * max(self.total - self.done, 0))

    def __rich__(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_column(no_wrap=True, justify="right", style="dim")
        left = self.left()
        grid.add_row(
            self.label,
            ProgressBar(total=self.total, completed=self.done),
            f"{100 * self.done // max(self.total, 1)} %",
            f"{left} left" if left else "",
        )
        return grid


class Output:
    """The standard output. When its reader leaves (`| head`, a lost terminal), it ends and the run does not."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding or "utf-8"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Characters written; those that the encoding lacks become `?`."""
        known = text.encode(self.encoding, "replace").decode(self.encoding)
        return self._try(lambda: self._stream.write(known))

    def flush(self) -> None:
        """Pass on what is buffered."""
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], int | None]) -> int:
        try:
            return action() or 0
        except OSError:
            # The descriptor itself is replaced, so that print() and the flush at exit find it open too.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
            return 0


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


def clock(seconds: float) -> str:
    """`m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
