"""Do the dynamics of a weighting matter? Each beside the runs that used its mean weights all the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mtl.report.compare import Comparisons
from mtl.report.figures import forest
from mtl.report.figures.look import legend
from mtl.report.figures.style import ARROWS, Skip, config, figure, metric_name
from mtl.report.rows import SCORE, Row
from mtl.report.stats import interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PREFIX = "replay_"
_DYNAMIC: dict[str, Any] = {"marker": "o", "color": "black", "markersize": 5, "linestyle": "none"}
_REPLAY: dict[str, Any] = _DYNAMIC | {"fillstyle": "none"}


def replay(comparisons: Comparisons) -> Figure:
    """Left the mean scores of a method and of its replay; right the difference, with intervals for all pairs at once.

    Raises:
        Skip: no replay has the run that it is of in the study, with a seed in common.
    """
    found = pairs(comparisons)
    if not found:
        raise Skip("no replay (weighting.from_run) stands beside the weighting that it is of")
    level = 1 - (1 - comparisons.choices.level) / len(found)  # Bonferroni
    differences = []
    for own, other in found:
        mine, theirs = comparisons.values(own, SCORE), comparisons.values(other, SCORE)
        shared = [block for block in mine if block in theirs]
        differences.append((np.array([mine[block] for block in shared]), np.array([theirs[block] for block in shared])))
    order = np.argsort([-(mine - theirs).mean() for mine, theirs in differences], kind="stable")
    labels = [found[place][0].label for place in order]
    drawn = figure(comparisons, forest.height(labels) + 1.1)
    left, right = drawn.subplots(1, 2, sharey=True)
    for axes in (left, right):
        forest.row_axis(axes, labels, [found[place][0].family for place in order])
    forest.zero(right, comparisons.choices.margin)
    for y, label, place in zip(forest.places(labels), labels, order, strict=True):
        mine, theirs = differences[place]
        left.plot([theirs.mean(), mine.mean()], [y, y], color="0.6", linewidth=0.8, zorder=1)
        left.plot([mine.mean()], [y], gid=f"dynamic/{label}", **_DYNAMIC)
        left.plot([theirs.mean()], [y], gid=f"replay/{label}", **_REPLAY)
        ends = interval(mine - theirs, level) if len(mine) > 1 else None
        forest.difference(right, label, y, float((mine - theirs).mean()), ends)
    left.set_xlabel(f"{metric_name(SCORE)} {ARROWS[True]}")
    right.set_xlabel("difference (points): above 0 the movement helped")
    entries = [("weighting as it is", _DYNAMIC), ("its replay: its mean weights, fixed", _REPLAY)]
    legend(drawn, entries + forest.explained(right, comparisons.choices.level, comparisons.choices.margin, "all pairs"))
    return drawn


def pairs(comparisons: Comparisons) -> list[tuple[Row, Row]]:
    """(row, its replay): the replay's config names the hash in the names of the runs that it is of."""
    found = []
    for other in comparisons.rows.rows:
        if not other.weighting.startswith(_PREFIX):
            continue
        first = next(run for runs in other.runs.values() for run in runs)
        source = str(config(comparisons, first).get("weighting", {}).get("replay_of", "")).partition("-")[0]
        for own in comparisons.rows.rows:
            runs = [run for of_block in own.runs.values() for run in of_block]
            same = own.weighting == other.weighting.removeprefix(_PREFIX) and all(f"-{source}-s" in run for run in runs)
            if same and set(comparisons.values(own, SCORE)) & set(comparisons.values(other, SCORE)):
                found.append((own, other))
    return found
