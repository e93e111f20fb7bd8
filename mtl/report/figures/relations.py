"""The score against what was chosen or paid: the learning rate, the training time."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from mtl.report.compare import Comparisons
from mtl.report.figures.look import COLOURS, DASHES, MARKERS, Look, far, legend, looks, mean_interval, of_rows, point
from mtl.report.figures.style import ARROWS, Skip, figure, metric_name, plain_log, signed
from mtl.report.rows import SCORE, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LR = "optimizer.lr"


def learning_rate(comparisons: Comparisons) -> Figure:
    """The test score over the learning rate, a line per weighting where all else is equal, else points.

    Raises:
        Skip: the learning rate does not differ between the rows.
    """
    column = comparisons.rows.study.keys.get(_LR)
    rows = [
        row
        for row in comparisons.rows.rows
        if comparisons.values(row, SCORE) and _number(row.keys.get(column or "", ""))
    ]
    if column is None or len({row.keys[column] for row in rows}) < 2:
        raise Skip(f"{_LR} does not differ between the rows")
    groups: dict[str, list[Row]] = {}
    for row in rows:
        others = [
            f"{key.rpartition('.')[2]}={text}"
            for key, text in row.keys.items()
            if text and key not in (column, "tasks")
        ]
        groups.setdefault(" ".join([row.weighting, *others]), []).append(row)
    joined = any(len(members) > 1 for members in groups.values())
    if not joined:  # a random search: nothing else is equal anywhere
        groups = {}
        for row in rows:
            groups.setdefault(row.weighting, []).append(row)
    drawn = figure(comparisons, 3.4)
    axes = drawn.subplots()
    found: dict[str, Look] = {}
    for place, (label, members) in enumerate(groups.items()):
        look = Look(COLOURS[place % 10], MARKERS[place % 10], DASHES[(place + place // 10) % 10])
        found[label] = look
        members.sort(key=lambda row: float(row.keys[column]))
        points = []
        for row in members:
            mean = mean_interval(comparisons, row, SCORE)
            assert mean is not None
            # Beside one another, so that intervals do not hide each other.
            x = float(row.keys[column]) * (1 + 0.02 * (place - (len(groups) - 1) / 2) if joined else 1)
            points.append((x, mean[0]))
            point(axes, f"{label}/{row.keys[column]}", x, mean[0], look, up=mean[1])
        if joined:
            axes.plot(
                [x for x, _ in points],
                [y for _, y in points],
                color=look.colour,
                linestyle=look.dashes,
                gid=f"line/{label}",
            )
    plain_log(axes, "x")
    axes.grid(axis="y")
    axes.set_xlabel("learning rate")
    axes.set_ylabel(f"{metric_name(SCORE)} {ARROWS[True]}")
    legend(drawn, of_rows(found, found, line=joined))
    return drawn


def cost(comparisons: Comparisons) -> Figure:
    """The test score over the training time of a run: the mean and both intervals.

    Raises:
        Skip: fewer than two rows have a score and a time.
    """
    key = next(
        (key for key in ("train_s", "step_ms") if any(comparisons.values(row, key) for row in comparisons.rows.rows)),
        "",
    )
    rows = [row for row in comparisons.rows.rows if comparisons.values(row, SCORE) and comparisons.values(row, key)]
    if len(rows) < 2:
        raise Skip("fewer than two rows have a test score and a training time")
    drawn = figure(comparisons, 3.4 + 0.035 * len(rows))
    axes = drawn.subplots()
    axes.margins(0.06)
    found = looks(comparisons)
    longest = max(fmean(comparisons.values(row, key).values()) for row in rows)
    unit, words = (1.0, "time of a step (ms)") if key == "step_ms" else _time(longest)
    points: dict[str, tuple[float, float]] = {}
    heights: dict[str, list[float]] = {}
    for row in rows:
        across, up = mean_interval(comparisons, row, key), mean_interval(comparisons, row, SCORE)
        assert across is not None
        assert up is not None
        ends = None if across[1] is None else tuple(max(end, 0.0) / unit for end in across[1])
        point(axes, row.label, across[0] / unit, up[0], found[row.label], ends, up[1])
        points[row.label], heights[row.label] = (across[0] / unit, up[0]), [up[0], *(up[1] or ())]
    _keep_scale(axes, points, heights, found)
    axes.grid()
    axes.set_xlabel(f"{words} {ARROWS[False]}")
    axes.set_ylabel(f"{metric_name(SCORE)} {ARROWS[True]}")
    legend(drawn, of_rows(found, [row.label for row in rows], line=False))
    return drawn


def _keep_scale(
    axes: Axes,
    points: dict[str, tuple[float, float]],
    heights: dict[str, list[float]],
    found: dict[str, Look],
) -> None:
    """Leave scores far from all others out of the scale: an arrow with the row and the number at the edge.

    `points` are the means, `heights` all that is drawn of a row from bottom to top.
    """
    outside = far({label: y for label, (_, y) in points.items()})
    near = [y for label, ys in heights.items() if label not in outside for y in ys]
    if not outside:
        return
    edge = 0.12 * (max(near) - min(near))
    axes.set_ylim(min(near) - edge, max(near) + edge)
    for place, label in enumerate(sorted(outside, key=lambda label: points[label])):
        x, y = points[label]
        low = y < min(near)
        text = f"{'▾' if low else '▴'} {found[label].number or label}: {signed(y)}"
        height, side = (0.01 + 0.045 * place, "bottom") if low else (0.99 - 0.045 * place, "top")
        axes.text(
            x, height, text, transform=axes.get_xaxis_transform(), ha="center", va=side, fontsize=7, gid="far"
        )  # fmt: skip


def _time(longest: float) -> tuple[float, str]:
    for seconds, unit in ((3600.0, "hours"), (60.0, "minutes")):
        if longest >= 2 * seconds:
            return seconds, f"training time of a run ({unit})"
    return 1.0, "training time of a run (seconds)"


def _number(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False
