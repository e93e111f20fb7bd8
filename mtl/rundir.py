"""The run directory: what a run leaves, each file whole or not there.

Every file is written under a temporary name and renamed, so that a killed process leaves the file before or the file
after, never half of one. `status.json` says `done` last of all.
"""

from __future__ import annotations

import json
import math
import os
import socket
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from mtl.identity import scientific

Row = Mapping[str, float | int | None]


class RunFailed(Exception):
    """A run that could not be finished; the message says which, why, and where the traceback lies."""


class RunDir:
    """One run's folder, `runs/<study>/<run name>`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._status: dict[str, Any] = {}

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

    def owner(self) -> int | None:
        """The process that is training this run on this machine now, if another one is."""
        status = self.status()
        pid = status.get("pid")
        if status.get("status") != "running" or status.get("host") != socket.gethostname():
            return None
        if not isinstance(pid, int) or pid == os.getpid():
            return None
        try:
            os.kill(pid, 0)
        except PermissionError:  # alive, and somebody else's
            return pid
        except OSError:
            return None
        return pid

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

    def set_status(self, **changes: Any) -> None:
        """Change entries of status.json and renew its heartbeat."""
        self._status = {**self._status, **changes, "heartbeat": _now()}
        self.write_json("status.json", self._status)

    def end(self, status: str, error: BaseException | None = None) -> None:
        """Record `done`, `interrupted` or `failed`, the last thing a run writes."""
        what = (
            {} if error is None else {"error": describe(error), "traceback": "".join(traceback.format_exception(error))}
        )
        self.set_status(status=status, ended=_now(), **what)

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
        else:
            self._temporary.unlink(missing_ok=True)


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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
