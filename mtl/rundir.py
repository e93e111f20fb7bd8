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

from mtl.claim import BEAT_EVERY, DEAD_AFTER, Claim
from mtl.identity import scientific

Row = Mapping[str, float | int | None]


class RunFailed(Exception):
    """A run that could not be finished; the message says which, why, and where the traceback lies."""


class TakenOver(RunFailed):
    """Another process has this run now."""


class RunDir:
    """One run's folder, `runs/<study>/<run name>`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._status: dict[str, Any] = {}
        self._lock, self._ended = Lock(), Event()
        self.claim = Claim(path)

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
        """The living process, other than this one, that has claimed this run."""
        return self.claim.owner()

    def finished(self) -> bool:
        """Whether the run is done and its results are there."""
        return self.status().get("status") == "done" and self.read("metrics.json") is not None

    def state(self) -> tuple[str, str]:
        """(state, words): `done`, `running`, `interrupted`, `failed` or `unreadable`, and what to know about it.

        A run that says it is running and whose process is dead counts as interrupted.
        """
        status = self.status()
        epoch = f"epoch {status['epoch']}/{status.get('epochs')}" if "epoch" in status else "epoch 0"
        match status.get("status"):
            case "done":
                return "done", ""
            case "failed":
                return "failed", str(status.get("error") or "no error recorded")
            case "running" if owner := self.owner():
                silent = _seconds_since(status.get("heartbeat"))
                return "running", f"{epoch}, last sign of life {_ago(silent)} ago, {owner}"
            case "running" | "interrupted":
                words = "before its first epoch ended" if epoch == "epoch 0" else f"after {epoch}"
                return "interrupted", f"{words}; the same command goes on with it"
            case None:
                return "unreadable", "status.json is missing or damaged"
            case other:
                return "unreadable", f"status.json has the unknown status '{other}'"

    def begin(self, **facts: Any) -> str | None:
        """Claim the run and mark it as running from now; or the process that has it."""
        self.path.mkdir(parents=True, exist_ok=True)
        if owner := self.claim.take():
            return owner
        if self.finished():  # since this process looked
            self.claim.release(done=True)
            return "another process"
        self._status = {
            "status": "running",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _now(),
        }
        self.set_status(**facts)
        self._ended.clear()
        Thread(target=self._beat, daemon=True).start()
        return None

    def set_status(self, **changes: Any) -> None:
        """Change entries of status.json and renew its heartbeat."""
        with self._lock:
            self._status = {**self._status, **changes, "heartbeat": _now()}
            self.write_json("status.json", self._status)

    def end(self, status: str, error: BaseException | None = None) -> None:
        """Record `done`, `interrupted` or `failed`, the last thing a run writes."""
        self._ended.set()
        if self.claim.lost():
            return  # the run is another process's, and so is its status
        what = {} if error is None else {"error": describe(error), "traceback": _traceback(error)}
        self.set_status(status=status, ended=_now(), **what)
        self.claim.release(done=status == "done")

    def _beat(self) -> None:
        # A thread, because packing, an evaluation or one step of a large network can last longer than a heart may stop.
        while not self._ended.wait(BEAT_EVERY):
            with suppress(OSError, TakenOver):  # training stops where it must write, not here
                self.claim.beat()
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
        if self.claim.lost():
            raise TakenOver(
                f"{self.path.name}: another process has taken this run over, having seen no sign of life of this one "
                f"for {DEAD_AFTER:.0f} s; this one stops"
            )
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
    """Delete the folder of a study, and those it lies in, where nothing has been written into them.

    Hydra makes them before anybody knows whether a run will be written. Beyond the working directory only the one in
    which studies lie.
    """
    here, path = Path.cwd(), study.absolute()
    for depth, folder in enumerate((path, *path.parents)):
        if folder == here or (depth > 1 and not folder.is_relative_to(here)):
            break
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
    # The code's own place is on no path where pip has linked to it.
    places = [*sys.path, sys.prefix, sys.base_prefix, str(Path.cwd()), str(Path(__file__).parents[1])]
    for place in sorted({str(Path(entry).absolute()) for entry in places if entry}, key=len, reverse=True):
        text = text.replace(f"{place}{os.sep}", "")
    return text


def _seconds_since(moment: Any) -> float:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (TypeError, ValueError):
        return math.inf


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
