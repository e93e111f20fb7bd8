"""How the rows of a study look in every figure alike, and the legend that says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtl.report.compare import Comparisons
from mtl.report.figures.style import wrapped
from mtl.report.rows import SINGLE, Row
from mtl.report.stats import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "0.55"
_PLATE = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": GREY, "linewidth": 0.6}
_OTHERS: dict[str, Any] = {"color": "0.75", "linewidth": 0.7}
# Okabe and Ito 2008 without its yellow, which is lost on white, then brown, wine (Tol) and olive.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F4F24", "#882255", "#8C8C33")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", "p")
DASHES: tuple[Any, ...] = (
    "-",
    "--",
    ":",
    "-.",
    (0, (5, 1)),
    (0, (1, 1)),
    (0, (3, 1, 1, 1)),
    (0, (6, 2, 1, 2, 1, 2)),
    (0, (8, 3)),
    (0, (2, 2)),
)


@dataclass(frozen=True)
class Look:
    """How a row is drawn: in a colour, or in grey under a number that the legend explains."""

    colour: str
    marker: str
    dashes: Any
    number: str = ""


def looks(comparisons: Comparisons) -> dict[str, Look]:
    """Label -> look. Of more than ten rows, the baselines, `SINGLE` and the best of validation have a colour.

    Of fixed weightings, which can be many, the best goes with the others.
    """
    rows = comparisons.rows.rows
    chosen = rows
    if len(rows) > len(COLOURS):
        fixed = [row for row in rows if row.weighting == "constant"]
        best = max(fixed, key=lambda row: validation(comparisons, row), default=None)

        def rank(row: Row) -> tuple[bool, bool, float]:
            known = row is comparisons.baseline(row.family) or row.weighting == SINGLE
            return not known, row in fixed and row is not best, -validation(comparisons, row)

        chosen = sorted(rows, key=rank)[: len(COLOURS)]
    found: dict[str, Look] = {}
    for row in rows:
        if row in chosen:
            n = sum(not look.number for look in found.values())
            found[row.label] = Look(COLOURS[n], MARKERS[n], DASHES[n])
        else:
            number = 1 + sum(bool(look.number) for look in found.values())
            found[row.label] = Look(GREY, "", DASHES[number % len(DASHES)], str(number))
    return found


def validation(comparisons: Comparisons, row: Row) -> float:
    """Mean validation score of a row; minus infinity without one."""
    values = list(comparisons.values(row, "val/score").values())
    return sum(values) / len(values) if values else -float("inf")


def mean_interval(comparisons: Comparisons, row: Row, key: str) -> tuple[float, tuple[float, float] | None] | None:
    """The mean of a row over its blocks and its interval, which takes two blocks; None without values."""
    import numpy as np

    values = np.array(list(comparisons.values(row, key).values()))
    if not len(values):
        return None
    return float(values.mean()), interval(values, comparisons.choices.level) if len(values) > 1 else None


def point(axes: Axes, gid: str, x: float, y: float, look: Look, across: Any = None, up: Any = None) -> None:
    """A row's point with the intervals `across` and `up`, each (low, high) or None."""
    front = 0.0 if look.number else 0.5
    bars: dict[str, Any] = {"color": "0.75" if look.number else look.colour, "linewidth": 0.9, "zorder": 2 + front}
    if across is not None:
        axes.plot(across, [y, y], gid=f"across/{gid}", **bars)
    if up is not None:
        axes.plot([x, x], up, gid=f"up/{gid}", **bars)
    axes.plot(
        [x],
        [y],
        marker=look.marker or "none",
        color=look.colour,
        markersize=5,
        linestyle="none",
        zorder=3 + front,
        gid=f"point/{gid}",
    )
    if look.number:
        axes.text(x, y, look.number, fontsize=7, ha="center", va="center", zorder=3, clip_on=True, bbox=_PLATE)


def far(means: Mapping[Any, float]) -> list[Any]:
    """The keys whose means lie so far from the others that a common scale would show nothing of these."""
    import numpy as np

    low, high = np.percentile(list(means.values()), [10, 90])
    reach = 3 * (high - low)
    return [key for key, mean in means.items() if reach and not low - reach <= mean <= high + reach]


def curve(axes: Axes, gid: str, x: Any, y: Any, look: Look) -> None:
    """A line of a row: in its colour with a marker now and then, or thin and grey."""
    if look.number:
        axes.plot(x, y, zorder=1, gid=gid, **_OTHERS)
        return
    every = max(1, len(x) // 8)
    marks: dict[str, Any] = {
        "marker": look.marker,
        "markersize": 3.5,
        "markevery": (MARKERS.index(look.marker) % every, every),
    }
    axes.plot(x, y, color=look.colour, linestyle=look.dashes, zorder=3, gid=gid, **marks)


def others(count: int) -> list[tuple[str, dict[str, Any]]]:
    """The legend entry of `count` rows without a colour."""
    return [(f"{count} other rows", _OTHERS)] if count else []


def legend(drawn: Figure, entries: Sequence[tuple[str, Mapping[str, Any]]], below: Axes | None = None) -> None:
    """A legend of (label, properties of a line) under the figure, or in an axes of its own."""
    from matplotlib.lines import Line2D

    labels = [wrapped(label, 56) for label, _ in entries]
    handles = [Line2D([], [], **properties) for _, properties in entries]
    # A label with a leading underscore would be left out.
    labels = [f" {label}" if label.startswith("_") else label for label in labels]
    if below is not None:
        below.set_axis_off()
        columns = 1 if len(labels) <= 11 else 2
        below.legend(handles, labels, loc="center", ncols=columns, handlelength=3.5)
    else:
        columns = _columns([max(map(len, label.split("\n"))) for label in labels], 72 * drawn.get_figwidth())
        drawn.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=3)


def _columns(lengths: Sequence[int], width: float) -> int:
    """The most columns of labels with so many characters that fit into `width` points."""
    import numpy as np

    handle, character = 41, 4.4  # handle and gaps at a size of 7; the mean of the font
    for columns in range(len(lengths), 1, -1):
        split = np.array_split(lengths, columns)  # as a legend fills its columns
        if sum(handle + character * max(part) for part in split) < width:
            return columns
    return 1


def of_rows(found: Mapping[str, Look], labels: Iterable[str], line: bool) -> list[tuple[str, dict[str, Any]]]:
    """Legend entries of rows: markers, or lines with markers."""
    entries = []
    for label in sorted(labels, key=lambda label: bool(found[label].number)):
        look = found[label]
        style = {
            "color": look.colour,
            "marker": look.marker,
            "linestyle": look.dashes if line else "none",
            "markersize": 5,
        }
        entries.append((f"{look.number}  {label}" if look.number else label, style))
    return entries
