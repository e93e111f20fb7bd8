"""Every row with its seeds and its difference to the baseline: in the score, and task by task."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from mtl.report.compare import Comparisons
from mtl.report.figures import forest
from mtl.report.figures.look import legend
from mtl.report.figures.style import ARROWS, Skip, figure, metric_name, wrapped
from mtl.report.rows import SCORE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACROSS = 3  # tasks beside one another


def scores(comparisons: Comparisons) -> Figure:
    """Left the test score of each row, seed by seed; right its difference to the baseline with both intervals.

    Raises:
        Skip: no row has a test score, or there are too many rows.
    """
    rows = forest.ordered(comparisons, SCORE)
    labels = [row.label for row in rows]
    compared = comparisons.of(SCORE)
    drawn = figure(comparisons, forest.height(labels) + 1.1)
    left, *others = drawn.subplots(1, 2 if compared else 1, sharey=True, squeeze=False)[0]
    for axes in (left, *others):
        forest.row_axis(axes, labels, [row.family for row in rows])
    ys = forest.places(labels)
    seeds = {y: list(comparisons.values(row, SCORE).values()) for y, row in zip(ys, rows, strict=True)}
    for y, label in zip(ys, labels, strict=True):
        forest.dots(left, label, seeds[y], y)
    forest.keep_scale(left, {y: (fmean(values), values) for y, values in seeds.items()})
    left.set_xlabel(f"{metric_name(SCORE)} {ARROWS[True]}\nbest mean first")
    entries: list[tuple[str, dict[str, Any]]] = [("one seed", forest.SEED), ("mean", forest.MEAN)]
    for right in others:
        margin = comparisons.choices.margin
        forest.zero(right, margin)
        found = {y: compared[label] for y, label in zip(ys, labels, strict=True) if label in compared}
        for y, one in found.items():
            forest.difference(right, one.row.label, y, one.difference, one.interval, one.pictures)
        drawn_there = {
            y: (0.0, one.difference, *(one.interval or ()), *(one.pictures or ())) for y, one in found.items()
        }
        forest.keep_scale(right, {y: (found[y].difference, values) for y, values in drawn_there.items()})
        names = {one.baseline.label for one in compared.values()}
        minus = f"minus {names.pop()}" if len(names) == 1 else "minus the baseline of its group"
        right.set_xlabel(wrapped(f"difference (points) {ARROWS[True]}, {minus}", 50))
        entries += forest.explained(right, comparisons.choices.level, margin, "all rows")
    legend(drawn, entries)
    return drawn


def tasks(comparisons: Comparisons) -> Figure:
    """Each task in its first metric: seeds, mean, and the interval of the difference, set off from the baseline's line.

    The bar that does not touch the line belongs to a difference that is claimed.

    Raises:
        Skip: no run has a metric of a task, or there are too many rows.
    """
    keys = {task: comparisons.rows.primary(task) for task in comparisons.rows.tasks}
    shown = [
        task for task, (key, _) in keys.items() if any(comparisons.values(row, key) for row in comparisons.rows.rows)
    ]
    if not shown:
        raise Skip("no finished run has a test metric of a task")
    first_key, first_sign = keys[shown[0]]
    rows = forest.ordered(comparisons, first_key, first_sign)
    rows += [row for row in comparisons.rows.rows if row not in rows]
    families = list(dict.fromkeys(row.family for row in rows))
    rows.sort(key=lambda row: families.index(row.family))
    labels = [row.label for row in rows]
    lines = -(-len(shown) // _ACROSS)
    drawn = figure(comparisons, lines * (forest.height(labels) + 0.75) + 0.5)
    grid = drawn.subplots(lines, min(_ACROSS, len(shown)), sharey=True, squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for task, axes in zip(shown, grid.flat, strict=False):
        key, sign = keys[task]
        compared = comparisons.of(key, higher=sign > 0)
        forest.row_axis(axes, labels, [row.family for row in rows])
        there = {}
        for y, row in zip(forest.places(labels), rows, strict=True):
            values = list(comparisons.values(row, key).values())
            if not values:
                continue
            there[y] = (fmean(values), values)
            base = comparisons.baseline(row.family)
            own = list(comparisons.values(base, key).values()) if base else []
            one = compared.get(row.label)
            if own:
                axes.plot(
                    [fmean(own)] * 2,
                    [y - 0.5, y + 0.5],
                    color="black",
                    linewidth=0.9,
                    linestyle="--",
                    gid=f"baseline/{task}/{row.label}",
                )
            if one is not None and one.interval is not None:
                ends = [fmean(own) + end for end in one.interval]
                there[y] = (fmean(values), [*values, *ends])
                axes.plot(ends, [y + 0.28] * 2, gid=f"interval/{task}/{row.label}", **forest.OVER_SEEDS)
            forest.dots(axes, f"{task}/{row.label}", values, y - 0.1)
        forest.keep_scale(axes, there)
        axes.set_title(wrapped(f"{task}: {metric_name(key)} {ARROWS[sign > 0]}", 34))
    level = f"{100 * comparisons.choices.level:g} %"
    entries = [("one seed", forest.SEED), ("mean", forest.MEAN)]
    entries.append(("mean of the baseline", {"color": "black", "linestyle": "--", "linewidth": 0.9}))
    if any(str(line.get_gid()).startswith("interval/") for axes in drawn.axes for line in axes.lines):
        entries.append((f"{level} over seeds of the difference, for all rows at once", forest.OVER_SEEDS))
    legend(drawn, entries)
    return drawn
