"""Where the networks are wrong: errors of a regression over its true value, confusion matrices of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mtl.report.compare import Comparisons
from mtl.report.figures.look import curve, legend, looks, of_rows, others, validation
from mtl.report.figures.style import ARROWS, Skip, config, figure, wrapped
from mtl.report.predictions import Predictions, predictions
from mtl.report.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NUMBERED = 12  # classes up to which cells carry numbers


def kinds(comparisons: Comparisons) -> dict[str, dict[str, Any]]:
    """Task -> what the data say of it: kind, classes, low, high, unit."""
    first = next(run for runs in comparisons.rows.rows[0].runs.values() for run in runs)
    found = config(comparisons, first).get("data", {}).get("tasks") or {}
    return {task: found[task] for task in comparisons.rows.tasks if task in found}


def error(comparisons: Comparisons, task: str) -> Figure:
    """The error of `task` over its true value: mean size, mean with its sign, and how many pictures there are.

    Raises:
        Skip: there are no predictions, or not of the same pictures.
    """
    from matplotlib.ticker import MaxNLocator

    rows = [row for row in comparisons.rows.rows if task in row.tasks]
    said = _predictions(comparisons, rows)
    truth = said.truth.get(task, np.array([]))
    known = np.isfinite(truth)
    if not known.any():
        raise Skip(f"no test picture has a label of {task}")
    edges = np.asarray(MaxNLocator(12, steps=[1, 2, 5, 10]).tick_values(truth[known].min(), truth[known].max()))
    places = np.digitize(truth[known], edges[1:-1])
    counts = np.bincount(places, minlength=len(edges) - 1)
    filled = counts > 0
    centres = (edges[:-1] + np.diff(edges) / 2)[filled]
    found = looks(comparisons)
    drawn = figure(comparisons, 4.1)
    grid = drawn.subplots(2, 2, sharex=True, height_ratios=[3.2, 1])
    for row in rows:
        if row.label not in said.predicted.get(task, {}):
            continue
        wrong = (said.predicted[task][row.label] - truth)[:, known]
        for axes, errors, what in zip(grid[0], (np.abs(wrong), wrong), ("size", "signed"), strict=True):
            sums = np.bincount(places, errors.mean(0), minlength=len(counts))
            curve(axes, f"{what}/{row.label}", centres, sums[filled] / counts[filled], found[row.label])
    unit = kinds(comparisons).get(task, {}).get("unit")
    unit = f" ({unit})" if unit else ""
    grid[0, 0].set_ylabel(f"mean absolute error{unit} {ARROWS[False]}")
    grid[0, 1].set_ylabel(f"mean error{unit}\nabove 0: guessed too high")
    grid[0, 0].set_ylim(bottom=0)
    grid[0, 1].axhline(0, color="black", linewidth=0.8, zorder=1)
    for axes in grid[0]:
        axes.grid(axis="y")
    for axes in grid[1]:
        axes.bar(centres, counts[filled], np.diff(edges)[filled] * 0.9, color="0.7", gid="pictures")
        axes.set_xlabel(f"true {task}{unit}")
    grid[1, 0].set_ylabel("test pictures")
    coloured = [row.label for row in rows if not found[row.label].number]
    legend(drawn, [*of_rows(found, coloured, line=True), *others(len(rows) - len(coloured))])
    return drawn


def confusion(comparisons: Comparisons) -> Figure:
    """Per task of classes its confusion matrix, rows = truth, of the baseline and of the best row by validation.

    A cell holds the share of its true class and the number of test pictures, means over the runs.

    Raises:
        Skip: no task has classes, or there are no predictions.
    """
    classes = {task: kind["classes"] for task, kind in kinds(comparisons).items() if kind.get("classes")}
    if not classes:
        raise Skip("no task has classes")
    chosen = _baseline_and_best(comparisons)
    said = _predictions(comparisons, list(chosen.values()))
    classes = {task: names for task, names in classes.items() if np.isfinite(said.truth.get(task, np.nan)).any()}
    if not classes:
        raise Skip("no test picture has a label of a task of classes")
    sizes = [max(1.1, 0.32 * min(len(names), _NUMBERED)) + 0.75 for names in classes.values()]
    drawn = figure(comparisons, sum(sizes) + 0.3)
    grid = drawn.subplots(len(classes), len(chosen), squeeze=False, height_ratios=sizes)
    for line, (task, names) in zip(grid, classes.items(), strict=True):
        for axes, (what, row) in zip(line, chosen.items(), strict=True):
            if row.label not in said.predicted.get(task, {}):
                axes.set_axis_off()
                continue
            cells = confusions(said.truth[task], said.predicted[task][row.label], len(names))
            _matrix(axes, cells, names)
            axes.set(xlabel=f"predicted {task}", ylabel=f"true {task}")
            if task == next(iter(classes)):
                axes.set_title(wrapped(f"{row.label} ({what})", 48))
    return drawn


def confusions(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """[C, C] test pictures by true and predicted class, the mean over the runs of `predicted` [runs, N]."""
    known = np.isfinite(truth)
    places = truth[known].astype(int) * num_classes + predicted[:, known].astype(int)
    return np.bincount(places.ravel(), minlength=num_classes**2).reshape(num_classes, num_classes) / len(predicted)


def _matrix(axes: Axes, cells: np.ndarray, names: Sequence[str]) -> None:
    totals = cells.sum(1, keepdims=True)
    shares = np.divide(cells, totals, out=np.zeros_like(cells), where=totals > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto", gid="heat")
    places = range(len(names))
    if len(names) <= _NUMBERED:
        texts = [wrapped(str(name), 14) for name in names]
        crowded = len(names) > 3 and max(map(len, texts)) > 34 / len(names)
        axes.set_xticks(
            places, texts, rotation=35 if crowded else 0, ha="right" if crowded else "center", rotation_mode="anchor"
        )
        axes.set_yticks(places, texts)
        for (y, x), share in np.ndenumerate(shares):
            if totals[y, 0]:
                text = f"{share:.2f}\n{cells[y, x]:.0f}"
                axes.text(x, y, text, ha="center", va="center", fontsize=7, color="white" if share > 0.55 else "black")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _baseline_and_best(comparisons: Comparisons) -> dict[str, Row]:
    """Of the first family: its baseline and, if it is another, the row with the best validation score."""
    family = comparisons.rows.rows[0].family
    members = [row for row in comparisons.rows.rows if row.family == family]
    baseline, best = comparisons.baseline(family), max(members, key=lambda row: validation(comparisons, row))
    if baseline is None or baseline is best:
        return {"best by validation" if baseline is None else "baseline, best by validation": best}
    return {"baseline": baseline, "best by validation": best}


def _predictions(comparisons: Comparisons, rows: Sequence[Row]) -> Predictions:
    try:
        return predictions(comparisons.rows, rows)
    except ValueError as reason:
        raise Skip(str(reason)) from reason
