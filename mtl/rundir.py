"""The run directory: what a run leaves, each file whole or not there.

Every file is written under a temporary name and renamed, so that a killed process leaves the file before or the file
after, never half of one. `status.json` says `done` last of all.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import yaml

from mtl.identity import scientific

BEAT_EVERY, DEAD_AFTER = 10.0, 60.0  # seconds between heartbeats, and without one until a run counts as dead

Row = Mapping[str, float | int | None]


class RunFailed(Exception):
    """A run that could not be finished; the message says which, why, and where the traceback lies."""


class RunDir:
    """One run's folder, `runs/<study>/<run name>`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._status: dict[str, Any] = {}
        self._lock, self._ended = Lock(), Event()

    def status(self) -> dict[str, Any]:
        """The content of status.json; empty if there is none or it cannot be read."""
        return self.read("status.json") or {}

    def read(self, name: str) -> Any:
        """The content of a JSON file; None if it is missing or damaged."""
        try:
            return json.loads((self.path / name).read_text())
        except (OSError, ValueError):
            return None

    def check_same(self, config: Mapping[str, Any]) -> None:
        """Refuse a folder of this name whose run was another.

        Raises:
            ValueError: the stored scientific config differs, with the first key that does.
        """
        try:
            stored = yaml.safe_load((self.path / "config.yaml").read_text())
        except (OSError, ValueError, yaml.YAMLError):
            return
        if not isinstance(stored, dict):
            return
        ours, theirs = scientific(config), scientific(stored)
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key):
                raise ValueError(
                    f"{self.path} holds another run: its {key} is {theirs.get(key)}, this one's is {ours.get(key)}; "
                    "move that folder away or choose another study=NAME."
                )

    def owner(self) -> str | None:
        """The process that is training this run now, if another one is: its heart has beaten within a minute.

        On this machine it must also be alive; a number that another process has taken over since has no heart.
        """
        status = self.status()
        pid, host = status.get("pid"), status.get("host")
        beats = _seconds_since(status.get("heartbeat")) < DEAD_AFTER
        if status.get("status") != "running" or not beats or not isinstance(pid, int):
            return None
        if host != socket.gethostname():
            return f"process {pid} on {host}"
        return f"process {pid}" if pid != os.getpid() and _alive(pid) else None

    def begin(self, **facts: Any) -> None:
        """Mark the run as running from now."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._status = {
            "status": "running",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _now(),
        }
        self.set_status(**facts)
        self._ended.clear()
        Thread(target=self._beat, daemon=True).start()

    def set_status(self, **changes: Any) -> None:
        """Change entries of status.json and renew its heartbeat."""
        with self._lock:
            self._status = {**self._status, **changes, "heartbeat": _now()}
            self.write_json("status.json", self._status)

    def end(self, status: str, error: BaseException | None = None) -> None:
        """Record `done`, `interrupted` or `failed`, the last thing a run writes."""
        self._ended.set()
        what = {} if error is None else {"error": describe(error), "traceback": _traceback(error)}
        self.set_status(status=status, ended=_now(), **what)

    def _beat(self) -> None:
        # A thread, because packing, an evaluation or one step of a large network can last longer than a heart may stop.
        while not self._ended.wait(BEAT_EVERY):
            with suppress(OSError):  # a full disk stops the training where it must write, not here
                self.set_status()

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a JSON-lines file; none if it is missing."""
        path = self.path / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def append(self, name: str, row: Row) -> None:
        """Add a row to a JSON-lines file."""
        self.keep(name, [*self.rows(name), row])

    def keep(self, name: str, rows: list[Any]) -> None:
        """Replace a JSON-lines file by `rows`."""
        self.write(name, "".join(json.dumps(_finite(row), allow_nan=False) + "\n" for row in rows))

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file; what is undefined (NaN, infinite) becomes null."""
        self.write(name, json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.yaml."""
        self.write("config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def write(self, name: str, text: str) -> None:
        """Write a text file."""
        with self.replacing(name) as temporary:
            temporary.write_text(text)

    def replacing(self, name: str) -> _Replacing:
        """`with run.replacing("best.pt") as path:` write to `path`; it becomes `best.pt` if nothing is raised."""
        return _Replacing(self.path / name)

    def remove(self, name: str) -> None:
        """Delete a file if it is there."""
        (self.path / name).unlink(missing_ok=True)


class _Replacing:
    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, path.with_name(f".{path.name}.{os.getpid()}")

    def __enter__(self) -> Path:
        return self._temporary

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._temporary.replace(self._path)
        # Also where all is well: a link to the very file that it should replace stays.
        self._temporary.unlink(missing_ok=True)


def remove_if_empty(study: Path) -> None:
    """Delete the folder of a study, and the one it lies in, where nothing has been written into them.

    Hydra makes them before anybody knows whether a run will be written.
    """
    for folder in (study.absolute(), study.absolute().parent):
        if folder != Path.cwd():
            with suppress(OSError):  # it is not empty, or another process was quicker
                folder.rmdir()


def describe(error: BaseException) -> str:
    """One line: the message of a user's mistake, the type and message of anything else."""
    lines = str(error).strip().splitlines() or [""]
    return lines[0] if type(error) is ValueError else f"{type(error).__name__}: {lines[0]}"


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _traceback(error: BaseException) -> str:
    """The traceback with paths as imports see them (`mtl/train.py`): where Python and code lie is nobody's business."""
    text = "".join(traceback.format_exception(error))
    places = [*sys.path, sys.prefix, sys.base_prefix, str(Path.cwd())]
    for place in sorted({str(Path(entry).absolute()) for entry in places if entry}, key=len, reverse=True):
        text = text.replace(f"{place}{os.sep}", "")
    return text


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # alive, and somebody else's
        return True
    except OSError:
        return False
    return True


def _seconds_since(moment: Any) -> float:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (TypeError, ValueError):
        return math.inf


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
