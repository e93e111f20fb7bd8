"""What several jobs at a time show: on a terminal a line each and a bar of all, elsewhere their lines, numbered."""

from __future__ import annotations

import os
import selectors
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from mtl.screen import Screen

if TYPE_CHECKING:
    from rich.console import Group

_CHUNK = 65536


class Lines:
    """What a child process writes, line by line: a pipe for its standard output and one for its errors.

    Made before the fork; afterwards the child calls `write_from_here`, the parent `keep_reading`.
    """

    def __init__(self) -> None:
        self._pipes = [os.pipe(), os.pipe()]
        self._rest = [b"", b""]
        self._selector = selectors.DefaultSelector()
        #: the last line of the standard output
        self.latest = ""

    def write_from_here(self) -> None:
        """In the child: standard output and errors go into the pipes."""
        for number, (reader, writer) in enumerate(self._pipes, start=1):
            os.dup2(writer, number)
            os.close(reader)
            os.close(writer)
        # The parent's own may go through its live display.
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    def keep_reading(self) -> None:
        """In the parent."""
        for number, (reader, writer) in enumerate(self._pipes):
            os.close(writer)
            os.set_blocking(reader, False)
            self._selector.register(reader, selectors.EVENT_READ, number)

    @property
    def sources(self) -> list[int]:
        """The descriptors that something may come from."""
        return [key.fd for key in self._selector.get_map().values()] if self._selector.get_map() else []

    def read(self, last: bool = False) -> Iterator[tuple[str, bool]]:
        """(line, whether it is an error) of what has come; with `last` an unfinished line, too, and that is all."""
        for key, _ in self._selector.select(0):
            while chunk := self._take(key.fd):
                *lines, self._rest[key.data] = (self._rest[key.data] + chunk).split(b"\n")
                for line in lines:
                    yield self._note(line, key.data)
        if last:
            for number, rest in enumerate(self._rest):
                if rest:
                    yield self._note(rest, number)
            for fd in self.sources:
                self._selector.unregister(fd)
                os.close(fd)
            self._selector.close()

    def _take(self, fd: int) -> bytes:
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return b""
        if not chunk:
            self._selector.unregister(fd)
            os.close(fd)
        return chunk

    def _note(self, line: bytes, number: int) -> tuple[str, bool]:
        text = line.decode(errors="replace").rstrip()
        if number == 0 and text:
            self.latest = text
        return text, number == 1


class Board(Screen):
    """The screen of a pool, as a context; drawn by whoever calls `draw`, for a thread would not survive a fork."""

    def __init__(self, total: int | None, slots: int) -> None:
        super().__init__(total or 0)
        self._total, self._slots = total, slots
        self._rows: dict[int, str] = {}
        self._told: set[int] = set()

    def __enter__(self) -> Self:
        if self._slots > 1:
            self.open(thread=False)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(self, text: str) -> None:
        """Print a remark."""
        self.line(text, "yellow", wrap=True)

    def show(self, number: int, title: str, lines: Lines, last: bool = False) -> None:
        """Print what job `number` has said, and remember its latest line."""
        if number not in self._told:
            self._told.add(number)
            if not self.terminal:
                self.line(f"{self._tag(number)} {title}")
        for text, is_error in lines.read(last):
            if text and (is_error or not self.terminal):
                self.line(f"{self._tag(number)} {text}", "yellow" if is_error and self.terminal else "", wrap=True)
        self._rows[number] = f"{self._tag(number)} {title}  {lines.latest}"

    def end(self, number: int, title: str, lines: Lines | None, reason: str) -> None:
        """Job `number` has ended: its last words stay."""
        if lines:
            self.show(number, title, lines, last=True)
            self._rows.pop(number, None)
            if self.terminal and not reason:
                self.line(f"{self._tag(number)} {lines.latest or title}", wrap=True)
        if reason:
            self.say(f"{self._tag(number)} {title}: {reason}" if lines else f"{title}: {reason}")
        self.done += 1

    def draw(self) -> None:
        """Draw the rows of the running jobs and the bar, on a terminal."""
        self.label = f"{self.done}" + (f" of {self._total} jobs" if self._total else " jobs") + " done"
        if self._live is not None:
            self._live.refresh()

    def _tag(self, number: int) -> str:
        return f"[{number}/{self._total}]" if self._total else f"[{number}]"

    def __rich__(self) -> Group:  # type: ignore[override]
        from rich.console import Group
        from rich.text import Text

        rows = [Text(row, no_wrap=True, overflow="ellipsis") for row in self._rows.values()]
        return Group(*rows, super().__rich__())
