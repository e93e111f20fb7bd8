"""Who trains a run: one process at a time, on one machine or over a shared file system, and nobody for good.

A claim is a file `.claim.<n>` in the run's folder, created exclusively. Whoever finds the highest one dead creates the
next number, which only one process can: none is ever renamed or reused, so that a slow process cannot take away what
a quicker one has got meanwhile. Its time of change is the heartbeat, by the clock of the file system alone.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

BEAT_EVERY, DEAD_AFTER = 10.0, 60.0  # seconds between heartbeats, and without one until a process counts as dead
_PREFIX = ".claim."
_RELEASED = 0  # time of change of a claim that has been given back


class Claim:
    """The claim on the run in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number: int | None = None

    def take(self) -> str | None:
        """Claim the run for this process: None if it has it, else the process that does."""
        while True:
            number = self._highest() + 1
            if owner := self._owner(number - 1):
                return owner
            try:
                descriptor = os.open(self._path(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:  # another process was quicker
                continue
            try:
                with os.fdopen(descriptor, "w") as file:
                    json.dump(_self(), file)
            except OSError:  # a full disk
                self._path(number).unlink(missing_ok=True)
                raise
            if self._highest() > number:  # others have come and gone while this process was slow
                self._path(number).unlink(missing_ok=True)
                continue
            self._number = number
            for lower in self._numbers():
                if lower < number:
                    self._path(lower).unlink(missing_ok=True)
            return None

    def owner(self) -> str | None:
        """The living process, other than this one, that has the run."""
        return self._owner(self._highest())

    def beat(self) -> None:
        """Show that this process lives."""
        if self._number is not None:
            os.utime(self._path(self._number))

    def lost(self) -> bool:
        """Whether another process has taken over, having heard nothing of this one for a minute."""
        return self._number is not None and self._highest() > self._number

    def release(self, done: bool) -> None:
        """Give the run back; a finished one needs no claim any more.

        Else the file stays, for its number.
        """
        if self._number is not None and not self.lost():
            with suppress(OSError):
                path = self._path(self._number)
                path.unlink() if done else os.utime(path, (_RELEASED, _RELEASED))
        self._number = None

    def _owner(self, number: int) -> str | None:
        try:
            with self._path(number).open() as file:  # opening makes a network file system ask its server
                text, touched = file.read(), os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        try:
            who = json.loads(text)
        except ValueError:  # its process has not written it yet, or died over it
            who = {}
        here = _self()
        near = all(who.get(key) == here[key] for key in ("host", "space"))
        if touched == _RELEASED or (near and (who["pid"] == here["pid"] or _born(who["pid"]) != who["born"])):
            return None
        # A process that is known to live has its run even if it has been stopped (Ctrl-Z) and shows no heartbeat.
        if not (near and who["born"]) and _now(self.folder) - touched >= DEAD_AFTER:
            return None
        return " on ".join([f"process {who['pid']}", *([] if near else [who["host"]])]) if who else "another process"

    def _path(self, number: int) -> Path:
        return self.folder / f"{_PREFIX}{number}"

    def _numbers(self) -> list[int]:
        words = (path.name.removeprefix(_PREFIX) for path in self.folder.glob(f"{_PREFIX}*"))
        return [int(word) for word in words if word.isdigit()]

    def _highest(self) -> int:
        return max(self._numbers(), default=0)


def _self() -> dict[str, Any]:
    """Process numbers mean something on one host, and there in one container, only."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return {"host": socket.gethostname(), "space": space, "pid": os.getpid(), "born": _born(os.getpid())}


def _born(pid: int) -> str | None:
    """When the process was started, in ticks, so that a number that is used again is told apart; None: it is dead.

    Where there is no /proc: "", for any process that lives.
    """
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    try:
        os.kill(pid, 0)
    except PermissionError:  # alive, and somebody else's
        return ""
    except OSError:
        return None
    return ""


def _now(folder: Path) -> float:
    """The time by the clock that dates the files in `folder`."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock.") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # somebody else's folder, or a full disk
        return time.time()
