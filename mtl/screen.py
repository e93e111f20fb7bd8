"""The terminal: lines for good above a live bar, and a standard output whose reader may leave."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

DRAW_EVERY = 0.25  # seconds


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


def clock(seconds: float) -> str:
    """`m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
