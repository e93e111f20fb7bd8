"""Do the tasks' gradients conflict? Mean cosines and shares of conflicting steps, row by row and pair by pair."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from mtl.report.compare import Comparisons
from mtl.report.figures.style import LINE, WIDTH, Skip, figure, wrapped
from mtl.report.rows import SINGLE, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL = 0.36  # inches that a number of two decimals needs
_LABEL = 40  # characters in a line of a row's label
_BESIDE = 6  # pairs up to which the panels stand beside each other


def conflict(comparisons: Comparisons) -> Figure:
    """Heat maps of rows x pairs of tasks: the mean cosine of two gradients, the share of steps where it is negative.

    Raises:
        Skip: no run recorded gradients.
    """
    pairs = list(combinations(comparisons.rows.tasks, 2))
    rows = [row for row in comparisons.rows.rows if row.weighting != SINGLE]
    cosines, shares = (
        np.array([[_mean(comparisons, row, what, pair) for pair in pairs] for row in rows]).reshape(
            len(rows), len(pairs)
        )
        for what in ("cos", "share")
    )
    rows = [row for row, known in zip(rows, np.isfinite(cosines).any(1), strict=True) if known]
    shares, cosines = (table[np.isfinite(cosines).any(1)] for table in (shares, cosines))
    if not rows:
        raise Skip("no finished run recorded conflicts of two tasks' gradients (train.probe)")
    labels = [row.label for row in rows]
    beside = len(pairs) <= _BESIDE
    lines = 1 + max(wrapped(label, _LABEL).count("\n") for label in labels)
    tall = (LINE * lines + 0.06) * len(labels) + 1.3
    drawn = figure(comparisons, tall if beside else 2 * tall, max(WIDTH, 2 + _CELL * len(pairs)))
    left, right = drawn.subplots(1 if beside else 2, 2 if beside else 1, sharey=beside, squeeze=False).flat
    reach = max(0.25, float(np.nanmax(np.abs(cosines))))
    _heat(left, cosines, labels, pairs, "RdBu", -reach, reach, "mean cosine of the gradients (below 0: conflict)")
    _heat(right, shares, labels, pairs, "Greys", 0, 1, "share of the probed steps in conflict")
    return drawn


def _mean(comparisons: Comparisons, row: Row, what: str, pair: tuple[str, str]) -> float:
    """The mean over epochs of each run, then over runs; NaN where none is recorded."""
    import pandas as pd

    epochs = comparisons.rows.study.epochs
    for a, b in (pair, pair[::-1]):
        column = f"conflict/{what}/{a}/{b}"
        if column in epochs:
            own = epochs[epochs["run"].isin([run for runs in row.runs.values() for run in runs])]
            return float(pd.to_numeric(own[column], errors="coerce").groupby(own["run"]).mean().mean())
    return float("nan")


def _heat(
    axes: Axes,
    table: np.ndarray,
    labels: list[str],
    pairs: list[tuple[str, str]],
    colours: str,
    low: float,
    high: float,
    title: str,
) -> None:
    import matplotlib

    colormap = matplotlib.colormaps[colours].with_extremes(bad="0.85")
    axes.imshow(table, cmap=colormap, vmin=low, vmax=high, aspect="auto", gid="heat")
    axes.set_yticks(range(len(labels)), [wrapped(label, _LABEL) for label in labels])
    several = len(pairs) > 4 or max(len(task) for pair in pairs for task in pair) > 9
    axes.set_xticks(
        range(len(pairs)), [f"{a} × {b}" if several else f"{a}\n× {b}" for a, b in pairs], rotation=90 if several else 0
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title)
    for (y, x), value in np.ndenumerate(table):
        if np.isfinite(value):
            red, green, blue, _ = colormap((value - low) / (high - low))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            text = f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
            axes.text(x, y, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
