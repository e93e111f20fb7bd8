"""What changes over the epochs: the score and the metrics of each row, and the effective weights of each weighting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mtl.report.compare import Comparisons
from mtl.report.figures.look import COLOURS, DASHES, MARKERS, Look, curve, legend, looks, of_rows, others
from mtl.report.figures.style import ARROWS, LINE, Skip, figure, metric_name, plain_log, whole, wrapped
from mtl.report.rows import SCORE, SINGLE, Row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 4  # weightings beside one another
_DECADES = 30  # largest over smallest weight from which on the axis is logarithmic


def over_epochs(comparisons: Comparisons, row: Row, column: str, factor: float = 1.0) -> pd.DataFrame:
    """Epoch -> mean, min, max over the blocks of a row; of several runs in a block (`SINGLE`) first their mean."""
    import pandas as pd

    epochs = comparisons.rows.study.epochs
    blocks = {run: number for number, runs in enumerate(row.runs.values()) for run in runs}
    if column not in epochs:
        return pd.DataFrame(columns=["mean", "min", "max"])
    own = epochs[epochs["run"].isin(blocks)]
    values = factor * pd.to_numeric(own[column], errors="coerce")
    of_blocks = values.groupby([own["epoch"], own["run"].map(blocks)]).mean().dropna()
    return of_blocks.groupby(level=0).agg(["mean", "min", "max"])


def curves(comparisons: Comparisons) -> Figure:
    """The validation score, then task by task its first metric on validation and training pictures.

    Raises:
        Skip: no run has a history.
    """
    if comparisons.rows.study.epochs.empty:
        raise Skip("no finished run has a history.jsonl")
    tasks, found = comparisons.rows.tasks, looks(comparisons)
    drawn = figure(comparisons, 1.75 * (1 + len(tasks)))
    grid = drawn.subplots(1 + len(tasks), 2, sharex=True, sharey="row", squeeze=False)
    scored = [row for row in comparisons.rows.rows if comparisons.values(row, SCORE)]
    for row in scored:
        _line(grid[0, 0], f"val/score/{row.label}", over_epochs(comparisons, row, "val/score", 100), found[row.label])
    grid[0, 0].set_ylabel(f"score (points) {ARROWS[True]}")
    grid[0, 0].set_title("validation")
    for place, task in enumerate(tasks, 1):
        key, sign = comparisons.rows.primary(task)
        metric = key.rpartition("/")[2]
        for axes, split in zip(grid[place], ("val", "train"), strict=True):
            for row in comparisons.rows.rows:
                if task in row.tasks:
                    name = f"{split}/{task}/{row.label}"
                    _line(axes, name, over_epochs(comparisons, row, f"{split}/{task}/{metric}"), found[row.label])
        grid[place, 0].set_ylabel(wrapped(f"{task}: {metric_name(key)} {ARROWS[sign > 0]}", 26))
    if len(tasks):
        grid[1, 1].set_title("training")
    for axes in (grid[0, 0], *grid[1:].flat):
        axes.grid(axis="y")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
        whole(axes)
    coloured = [label for label, look in found.items() if not look.number]
    entries = of_rows(found, coloured, line=True)
    entries += others(len(found) - len(coloured))
    legend(drawn, entries, below=grid[0, 1])
    return drawn


def _line(axes: Axes, gid: str, values: pd.DataFrame, look: Look) -> None:
    if values.empty:
        return
    curve(axes, gid, values.index, values["mean"], look)
    if not look.number and (values["max"] > values["min"]).any():
        axes.fill_between(
            values.index, values["min"], values["max"], color=look.colour, alpha=0.13, linewidth=0, zorder=2
        )


def weights(comparisons: Comparisons) -> Figure:
    """Per row whose weights move: the effective weights of the tasks, and below them their shares.

    Raises:
        Skip: no run recorded weights, or none of them moves.
    """
    tasks = comparisons.rows.tasks
    moving: dict[str, dict[str, pd.DataFrame]] = {}
    rows = [row for row in comparisons.rows.rows if row.weighting != SINGLE and len(row.tasks) > 1]
    for row in rows:
        found = {task: over_epochs(comparisons, row, f"weight/{task}") for task in row.tasks}
        if any(_moves(values) for values in found.values() if len(values)):
            moving[row.label] = found
    if not moving:
        raise Skip("no run has weights that move over the epochs")
    across = min(_ACROSS if len(moving) <= 3 * _ACROSS else _ACROSS + 1, len(moving))
    lines = -(-len(moving) // across)
    titles = {label: wrapped(label, int(100 / across)) for label in moving}
    title = LINE * max(text.count("\n") for text in titles.values())
    drawn = figure(comparisons, (2.3 + title) * lines + 0.5)
    grid = drawn.subplots(2 * lines, across, squeeze=False)  # no shared axes: with many they take seconds
    for axes in grid.flat:
        axes.set_axis_off()
    task_looks = {task: Look(COLOURS[k % 10], MARKERS[k % 10], DASHES[k % 10]) for k, task in enumerate(tasks)}
    by_label = {row.label: row for row in rows}
    for place, (label, found) in enumerate(moving.items()):
        line, column = divmod(place, across)
        top, bottom = grid[2 * line, column], grid[2 * line + 1, column]
        for task, values in found.items():
            _line(top, f"weight/{task}/{label}", values, task_looks[task])
            share = over_epochs(comparisons, by_label[label], f"share/{task}")
            _line(bottom, f"share/{task}/{label}", share, task_looks[task])
        low = min(values["min"].min() for values in found.values() if len(values))
        high = max(values["max"].max() for values in found.values() if len(values))
        for axes in (top, bottom):
            axes.set_axis_on()
            axes.grid(axis="y")
            whole(axes, 5)
        if low > 0 and high / low > _DECADES:
            plain_log(top, "y")
        limits = bottom.get_ylim()
        bottom.set_ylim(min(0, limits[0]), max(1, limits[1]))
        top.tick_params(labelbottom=False)
        top.set_title(titles[label])
        if column == 0:
            top.set_ylabel("weight")
            bottom.set_ylabel("share")
        if line == lines - 1:
            bottom.set_xlabel("epoch")
    entries: list[tuple[str, dict[str, Any]]] = of_rows(task_looks, tasks, line=True)
    legend(drawn, entries)
    return drawn


def _moves(values: pd.DataFrame) -> bool:
    spread = values["mean"].max() - values["mean"].min()
    return bool(spread > 1e-6 * values["mean"].abs().max())
