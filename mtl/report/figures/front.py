"""The Pareto front of fixed weightings per pair of tasks, and where every method lies beside it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from mtl.report.compare import Comparisons
from mtl.report.figures.look import Look, legend, looks, mean_interval, of_rows, point
from mtl.report.figures.style import ARROWS, Skip, figure, metric_name, wrapped
from mtl.report.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIXED = ("sum", "constant")
_FEWEST = 3  # fixed weightings that make a front
_ACROSS = 3  # pairs beside one another
_FIXED_LOOK = Look("0.5", "o", "-")
_FRONT: dict[str, Any] = {"color": "0.5", "linewidth": 1, "marker": "o", "markersize": 5}
_DOMINATED: dict[str, Any] = {"color": "0.6", "linestyle": "none", "marker": "o", "fillstyle": "none", "markersize": 4}


def front(comparisons: Comparisons) -> Figure:
    """Per pair of tasks their two metrics, better to the right and up: fixed weightings, their front, the methods.

    Raises:
        Skip: fewer than two tasks, or fewer than three fixed weightings that differ in nothing else.
    """
    rows = comparisons.rows.rows
    pairs = list(combinations(comparisons.rows.tasks, 2))
    families = [
        family
        for family in dict.fromkeys(row.family for row in rows)
        if sum(_fixed(row) for row in rows if row.family == family) >= _FEWEST
    ]
    if not pairs or not families:
        raise Skip(
            f"a front needs two tasks and {_FEWEST} rows of weighting=constant or sum that differ in nothing else"
        )
    panels = [(family, pair) for family in families for pair in pairs]
    across = min(_ACROSS, len(pairs))
    lines = -(-len(panels) // across)
    methods = [row.label for row in rows if row.family in families and row.weighting != "constant"]
    drawn = figure(comparisons, 2.3 * lines + 0.5 + 0.16 * len(methods) / 4)
    grid = drawn.subplots(lines, across, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    found = looks(comparisons)
    for (family, pair), axes in zip(panels, grid.flat, strict=False):
        _panel(axes, comparisons, [row for row in rows if row.family == family], pair, found)
        if len(families) > 1:
            axes.set_title(wrapped(" ".join(family), 34))
    entries = [("front of the fixed weightings", _FRONT), ("fixed weighting behind it", _DOMINATED)]
    legend(drawn, entries + of_rows(found, methods, line=False))
    return drawn


def _panel(
    axes: Axes, comparisons: Comparisons, rows: Sequence[Row], pair: tuple[str, str], found: dict[str, Look]
) -> None:
    (x_key, x_sign), (y_key, y_sign) = (comparisons.rows.primary(task) for task in pair)
    fixed = []
    for row in rows:
        across, up = mean_interval(comparisons, row, x_key), mean_interval(comparisons, row, y_key)
        if across is None or up is None:
            continue
        if _fixed(row):
            fixed.append((across[0], up[0]))
        if row.weighting != "constant":
            point(axes, row.label, across[0], up[0], found[row.label], across[1], up[1])
    best = undominated([(x_sign * x, y_sign * y) for x, y in fixed])
    ahead = sorted(one for one, is_best in zip(fixed, best, strict=True) if is_best)
    behind = [one for one, is_best in zip(fixed, best, strict=True) if not is_best]
    for points, style, gid in ((behind, _DOMINATED, "behind"), (ahead, _FRONT, "front")):
        axes.plot([x for x, _ in points], [y for _, y in points], gid=gid, zorder=2.5, **style)
    axes.grid()
    axes.margins(0.08)
    for sign, key, task, invert, label in (
        (x_sign, x_key, pair[0], axes.invert_xaxis, axes.set_xlabel),
        (y_sign, y_key, pair[1], axes.invert_yaxis, axes.set_ylabel),
    ):
        label(wrapped(f"{task}: {metric_name(key)} {ARROWS[sign > 0]}", 30))
        if sign < 0:
            invert()


def undominated(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether no other point is at least as high in both coordinates and higher in one."""
    return [not any(a >= x and b >= y and (a, b) != (x, y) for a, b in points) for x, y in points]


def _fixed(row: Row) -> bool:
    return row.weighting in FIXED and len(row.tasks) > 1
