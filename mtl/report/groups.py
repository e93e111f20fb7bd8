"""Results per group of pictures: who is served best and worst, by the true class of a task or by bins of its value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mtl.metrics import METRICS
from mtl.report.predictions import Predictions, predictions
from mtl.report.render import aligned, escape, markdown
from mtl.report.rows import Row, Rows
from mtl.report.tables import Cell, estimate


@dataclass(frozen=True)
class Groups:
    """A metric of every task for each group of test pictures.

    Attributes:
        by: the task that groups.
        names: of the groups, in order.
        counts: pictures of each group.
        lines: (label of the row, task, metric, cell per group, cell of the gap); seeds are the spread.
    """

    by: str
    names: list[str]
    counts: list[int]
    lines: list[tuple[str, str, str, list[Cell | None], Cell | None]]


def group(rows: Rows, word: str) -> list[Groups]:
    """The groups of `word`, one entry per family.

    Args:
        rows: of a study with predictions.
        word: TASK, or TASK=20,40,60 for bins of a regression task that end below 20, 40 and 60.

    Raises:
        ValueError: no such task, bins that are no rising numbers, or the predictions cannot be read.
    """
    task, _, edges = word.partition("=")
    if task not in rows.tasks:
        raise ValueError(f"--by {word}: expected one of the tasks {', '.join(rows.tasks)}")
    families = dict.fromkeys(row.family for row in rows.rows)
    return [_family(rows, [row for row in rows.rows if row.family == family], task, edges) for family in families]


def _family(rows: Rows, family: Sequence[Row], by: str, edges: str) -> Groups:
    found = predictions(rows, family)
    names, member = _members(rows, family[0], found, by, edges)
    lines = []
    for row in family:
        for task in (task for task in rows.tasks if row.label in found.predicted.get(task, {})):
            key, sign = rows.primary(task)
            truth, predicted = found.truth[task], found.predicted[task][row.label]
            hit = np.abs(predicted - truth) if sign < 0 else (predicted == truth).astype(float)
            values = np.full((len(predicted), len(names)), np.nan)
            for g in range(len(names)):
                chosen = (member == g) & ~np.isnan(truth)
                if chosen.any():
                    values[:, g] = hit[:, chosen].mean(1)
            cells = [None if np.isnan(column).any() else estimate(column.tolist()) for column in values.T]
            known = values[:, [cell is not None for cell in cells]]
            gap = estimate((known.max(1) - known.min(1)).tolist()) if known.shape[1] > 1 else None
            lines.append((row.label, task, key.rpartition("/")[2], cells, gap))
    return Groups(by, names, [int((member == g).sum()) for g in range(len(names))], lines)


def _members(rows: Rows, row: Row, found: Predictions, by: str, edges: str) -> tuple[list[str], np.ndarray]:
    """Names of the groups, and of every picture the number of its group, -1 without label."""
    run = next(iter(row.runs.values()))[0]
    task = rows.config(run)["data"]["tasks"][by]
    truth = found.truth.get(by)
    if truth is None:
        raise ValueError(f"--by {by}: no run has predictions of this task")
    if task["kind"] != "regression":
        if edges:
            raise ValueError(f"--by {by}={edges}: bins are for numbers, and {by} has classes; give --by {by}")
        return list(map(str, task["classes"])), np.where(np.isnan(truth), -1, truth).astype(int)
    bins = _bins(by, edges, truth)
    unit = f" {task['unit']}" if task.get("unit") else ""
    names = [f"below {bins[0]:g}{unit}"]
    names += [f"{low:g} to {high:g}" for low, high in pairwise(bins)] + [f"{bins[-1]:g} and above"]
    return names, np.where(np.isnan(truth), -1, np.digitize(truth, bins))


def _bins(by: str, edges: str, truth: np.ndarray) -> list[float]:
    if not edges:  # whole numbers that cut the pictures into about five equal groups
        return sorted({float(round(edge)) for edge in np.nanquantile(truth, [0.2, 0.4, 0.6, 0.8])})
    try:
        bins = [float(edge) for edge in edges.split(",")]
    except ValueError:
        bins = []
    if not bins or sorted(set(bins)) != bins:
        raise ValueError(f"--by {by}={edges}: expected rising numbers, such as {by}=20,40,60")
    return bins


def to_text(groups: Groups) -> str:
    """The groups as aligned text."""
    headings, counts, body = _grid(groups)
    return "\n".join([*_words(groups), "", aligned([headings, counts], body)])


def to_markdown(groups: Groups) -> str:
    """The groups as a section of the report."""
    headings, counts, body = _grid(groups)
    table = markdown(headings, [[escape(cell) for cell in row] for row in [counts, *body]], left=2)
    return "\n".join(["", f"## By {escape(groups.by)}", "", *map(escape, _words(groups)), "", *table, ""])


def to_records(groups: Groups) -> list[dict[str, object]]:
    """One mapping per row, task and group, and one for the gap, in full precision."""
    records: list[dict[str, object]] = []
    for label, task, metric, cells, gap in groups.lines:
        of_all = [*zip(groups.names, groups.counts, cells, strict=True), ("gap", sum(groups.counts), gap)]
        for name, count, cell in of_all:
            own = (None, None, None) if cell is None else (cell.mean, cell.std, cell.n)
            keys = {"by": groups.by, "group": name, "pictures": count, "row": label, "task": task, "metric": metric}
            records.append(keys | dict(zip(("mean", "std", "n"), own, strict=True)))
    return records


def _words(groups: Groups) -> list[str]:
    return [
        f"Test pictures by {groups.by}: mean ± standard deviation over seeds. gap: best minus worst served group of a "
        "seed; it is above zero by chance alone, the more so the smaller the groups."
    ]


def _grid(groups: Groups) -> tuple[list[str], list[str], list[list[str]]]:
    def text(cell: Cell | None, decimals: int) -> str:
        if cell is None:
            return ""
        return f"{cell.mean:.{decimals}f}" + ("" if cell.std is None else f" ± {cell.std:.{decimals}f}")

    headings = ["row", "task", *groups.names, "gap"]
    counts = ["", "pictures", *map(str, groups.counts), ""]
    body = []
    for label, task, metric, cells, gap in groups.lines:
        unit, higher = METRICS[metric]
        decimals = 3 if unit == "fraction" else 2
        arrow = "↑" if higher else "↓"
        metric_words = metric.replace("_", " ").replace("mae", "MAE")
        body.append([label, f"{task} {metric_words} {arrow}", *(text(cell, decimals) for cell in [*cells, gap])])
    return headings, counts, body
