"""The worst test pictures of each row and task: the largest errors, the most confident mistakes, and small copies."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mtl.data.decode import Unusable, decode
from mtl.data.source import Source
from mtl.report.predictions import Predictions, predictions, read
from mtl.report.rows import Row, Rows

#: of each row and task
NUM_PICTURES = 8
#: pixels of a copy, each way
SIZE = 80
_QUALITY = 72  # of WebP; 80 x 80 pixels of a face take 1.5 kB


@dataclass(frozen=True)
class Mistake:
    """What the networks of a row say of one test picture, the mean over its runs."""

    id: str
    truth: str
    predicted: str


@dataclass(frozen=True)
class Mistakes:
    """The worst pictures of a study."""

    #: task -> label of a row -> the worst first
    worst: dict[str, dict[str, list[Mistake]]] = field(default_factory=dict)
    #: id -> data URI of a small copy
    copies: dict[str, str] = field(default_factory=dict)
    #: why pictures are missing
    notes: list[str] = field(default_factory=list)


def mistakes(rows: Rows, configs: Mapping[str, Mapping[str, Any]]) -> Mistakes:
    """The worst test pictures of all rows, read again from where the training read them.

    Args:
        rows: of a study with predictions.
        configs: run -> its config.yaml.
    """
    found = Mistakes()
    sets: dict[str, tuple[Mapping[str, Any], dict[str, None]]] = {}  # families share one, and an archive is read once
    for name in dict.fromkeys(row.family for row in rows.rows):
        family = [row for row in rows.rows if row.family == name]
        data = configs[next(iter(family[0].runs.values()))[0]]["data"]
        try:
            said = predictions(rows, family)
        except ValueError as error:
            _note(found, f"No worst pictures: {error}.")
            continue
        _, ids = sets.setdefault(json.dumps([data.get("root"), data.get("draw")]), (data, {}))
        for task in (task for task in rows.tasks if task in said.truth):
            for row in (row for row in family if row.label in said.predicted.get(task, {})):
                worst = _worst(rows, row, task, data["tasks"][task], said)
                found.worst.setdefault(task, {})[row.label] = worst
                ids |= dict.fromkeys(mistake.id for mistake in worst)
    for data, ids in sets.values():
        try:
            found.copies.update(_copies(data, list(ids)))
        except (ValueError, OSError) as error:
            _note(found, f"The pictures themselves are not shown: {error}")
    return found


def _note(found: Mistakes, words: str) -> None:
    if words not in found.notes:
        found.notes.append(words)


def _worst(rows: Rows, row: Row, task: str, spec: Mapping[str, Any], said: Predictions) -> list[Mistake]:
    truth, guesses = said.truth[task], said.predicted[task][row.label]
    if spec["kind"] == "regression":
        mean = guesses.mean(0)
        error = np.nan_to_num(np.abs(guesses - truth).mean(0), nan=-1)
        order = [n for n in np.argsort(-error, kind="stable")[:NUM_PICTURES] if error[n] >= 0]
        unit = f" {spec['unit']}" if spec.get("unit") else ""
        return [Mistake(said.ids[n], f"{truth[n]:g}{unit}", f"{mean[n]:.1f}{unit}") for n in order]
    classes, shares = spec["classes"], _shares(rows, row, task)
    if shares is None:
        return []
    choice = shares.argmax(1)
    confidence = np.where(np.isnan(truth) | (choice == truth), -1.0, shares.max(1))
    order = [n for n in np.argsort(-confidence, kind="stable")[:NUM_PICTURES] if confidence[n] >= 0]
    return [
        Mistake(said.ids[n], classes[int(truth[n])], f"{classes[choice[n]]}, {100 * confidence[n]:.0f} %")
        for n in order
    ]


def _shares(rows: Rows, row: Row, task: str) -> np.ndarray | None:
    """[N, C] probabilities of the classes, the mean over the runs of `row` that have `task`; None without."""
    directories: dict[str, str] = dict(rows.study.done[["run", "directory"]].itertuples(index=False))
    frames = [read(Path(directories[run]) / "predictions.csv") for runs in row.runs.values() for run in runs]
    columns = [
        [c for c in frame if str(c).startswith(f"{task}/p") and str(c)[len(task) + 2 :].isdigit()] for frame in frames
    ]
    parts = [frame[names].to_numpy(float) for frame, names in zip(frames, columns, strict=True) if names]
    return np.mean(parts, axis=0) if parts else None


def _copies(data: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Name -> data URI.

    Raises:
        ValueError: the pictures are no longer where the training read them.
    """
    root = _root(data)
    if not root.exists():
        raise ValueError("data.root of the runs is no longer there; the report shows them where it is.")
    copies = {}
    for name, content in Source(root, [], "", []).read(names):
        try:
            copies[name] = _copy(content)
        except Unusable:
            continue
    return copies


def _root(data: Mapping[str, Any]) -> Path:
    draw = data.get("draw")
    if data.get("root") or not draw:
        return Path(data.get("root") or "").expanduser()
    if draw["_target_"] != "mtl.data.trees.draw":  # a report runs no code that a run directory names
        raise ValueError(f"they were drawn by {draw['_target_']}.")
    from mtl.data.trees import draw as draw_trees

    options = {key: draw[key] for key in ("num", "seed", "size")}
    return draw_trees(Path(data["cache"]).expanduser(), **options)


def _copy(content: bytes) -> str:
    from PIL import Image

    pixels, _ = decode(content, SIZE)
    file = io.BytesIO()
    Image.frombytes("RGB", (SIZE, SIZE), pixels).save(file, "WEBP", quality=_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
