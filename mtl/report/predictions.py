"""What the networks of a row said of each test picture: predictions.csv, one array for all runs of a family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mtl.report.rows import Row, Rows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Predictions:
    """N test pictures, which all rows have in common.

    Attributes:
        ids: [N] paths relative to the root of the data.
        clusters: [N] near-duplicates share a number; each picture has its own where runs recorded none.
        truth: task -> [N], in years or class indices; NaN without label.
        predicted: task -> label of a row -> [runs, N], in the order of the row's blocks.
    """

    ids: list[str]
    clusters: np.ndarray
    truth: dict[str, np.ndarray]
    predicted: dict[str, dict[str, np.ndarray]]


def predictions(rows: Rows, family: Sequence[Row]) -> Predictions:
    """The test predictions of all runs of the rows `family`.

    Raises:
        ValueError: a file is missing or damaged, or the runs were tested on different pictures.
    """
    first: pd.DataFrame | None = None
    truth: dict[str, np.ndarray] = {}
    predicted: dict[str, dict[str, np.ndarray]] = {}
    for row in family:
        collected: dict[str, list[np.ndarray]] = {}
        for run in (run for runs in row.runs.values() for run in runs):
            frame = read(rows.directory(run) / "predictions.csv")
            first = frame if first is None else first
            if len(frame) != len(first) or not (frame["id"].to_numpy() == first["id"].to_numpy()).all():
                raise ValueError("the runs were tested on different pictures")
            for task in row.tasks:
                if f"{task}/pred" in frame:
                    truth[task] = frame[f"{task}/true"].to_numpy(float)
                    collected.setdefault(task, []).append(frame[f"{task}/pred"].to_numpy(float))
        for task, arrays in collected.items():
            predicted.setdefault(task, {})[row.label] = np.stack(arrays)
    if first is None:
        raise ValueError("there is no run")
    names = first["cluster"] if "cluster" in first else first["id"]
    clusters = np.unique(names.astype(str), return_inverse=True)[1]
    return Predictions(list(first["id"].astype(str)), clusters, truth, predicted)


@cache
def read(path: Path) -> pd.DataFrame:
    """A run's predictions.csv, sorted by `id`.

    Raises:
        ValueError: it is missing or damaged.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path)
        return frame.sort_values("id", ignore_index=True)
    except FileNotFoundError as error:
        raise ValueError(f"{path.parent.name} has no predictions.csv") from error
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"predictions.csv of {path.parent.name} is damaged") from error


def losses(rows: Rows, family: Sequence[Row], found: Predictions) -> np.ndarray:
    """What each picture contributes to the score of a row, in points: [M, N, K], the mean over the row's runs.

    The mean over tasks of the mean over pictures is the row's `test/score`. A row without a task has NaN there.
    """
    result = np.full((len(family), len(found.ids), len(rows.tasks)), np.nan)
    for k, task in enumerate(rows.tasks):
        for m, row in enumerate(family):
            if row.label not in found.predicted.get(task, {}):
                continue
            run = next(run for run in next(iter(row.runs.values())) if f"skill/{task}" in rows.numbers[run])
            guess, truth = rows.numbers[run], found.truth[task]
            if (mae := guess.get(f"trivial/{task}/mae_years")) is not None:
                skill = 1 - np.abs(found.predicted[task][row.label] - truth) / mae
            else:
                majority = guess[f"trivial/{task}/accuracy"]
                skill = ((found.predicted[task][row.label] == truth) - majority) / (1 - majority)
            result[m, :, k] = np.where(np.isnan(truth), np.nan, 100 * skill.mean(0))
    return result
