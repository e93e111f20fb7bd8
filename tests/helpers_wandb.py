"""Reads what a W&B run wrote: LevelDB records (with W&B's header and checksum) of wandb's own protobuf messages."""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK = 32768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[Any]:
    """The records of a `.wandb` file; one that a killed process left unfinished ends them."""
    data = path.read_bytes()
    assert data[:4] == b":W&B", f"{path} is no W&B file"
    position, parts = 7, b""
    while position + 7 <= len(data):
        if BLOCK - position % BLOCK < 7:  # no record starts in the last six bytes of a block
            position += BLOCK - position % BLOCK
            continue
        checksum, length, kind = struct.unpack_from("<IHB", data, position)
        part = data[position + 7 : position + 7 + length]
        if len(part) < length:
            return
        assert zlib.crc32(bytes([kind]) + part) == checksum, f"{path} is damaged at byte {position}"
        position += 7 + length
        parts = part if kind in (FULL, FIRST) else parts + part
        if kind in (FULL, LAST):
            yield wandb_internal_pb2.Record.FromString(parts)


def run_file(directory: Path) -> Path:
    """The one `.wandb` file of a run directory."""
    (path,) = directory.glob("wandb/*run-*/run-*.wandb")
    return path


def finished(directory: Path) -> Content:
    """What the one run in a run directory holds; wandb's service closes the file some milliseconds after `finish`."""
    deadline = time.monotonic() + 10
    while (content := Content(run_file(directory))).exit_code is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return content


class Content:
    """What a `.wandb` file holds, without wandb's own keys, which start with an underscore."""

    def __init__(self, path: Path) -> None:
        self.config: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []  # in the order of logging, with their step
        self.summary: dict[str, Any] = {}
        self.metrics: dict[str, tuple[str, set[str]]] = {}  # key -> step metric, kinds of summary
        self.kinds: set[str] = set()
        self.run: Any = None
        self.exit_code: int | None = None
        for record in records(path):
            kind = record.WhichOneof("record_type")
            self.kinds.add(kind)
            if kind == "run":
                self.run = record.run
                self.config |= _items(record.run.config.update)
            elif kind == "history":
                self.rows.append({"step": record.history.step.num, **_items(record.history.item)})
            elif kind == "summary":
                self.summary |= _items(record.summary.update)
            elif kind == "metric":
                summary = {field.name for field, value in record.metric.summary.ListFields() if value}
                self.metrics[record.metric.name] = record.metric.step_metric, summary
            elif kind == "exit":
                self.exit_code = record.exit.exit_code


def _items(updates: Any) -> dict[str, Any]:
    pairs = {update.key or ".".join(update.nested_key): json.loads(update.value_json) for update in updates}
    return {key: value for key, value in pairs.items() if not key.startswith("_")}
