"""Parts of the figures that have one line per row: dots per seed, differences with intervals, outliers at the edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mtl.report.compare import Comparisons
from mtl.report.figures.look import far
from mtl.report.figures.style import LINE, Skip, signed, wrapped
from mtl.report.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Interval = tuple[float, float]
SEED: dict[str, Any] = {
    "marker": "o",
    "fillstyle": "none",
    "color": "0.45",
    "markersize": 3.5,
    "linestyle": "none",
    "markeredgewidth": 0.7,
}
MEAN: dict[str, Any] = {"marker": "|", "color": "black", "markersize": 9, "linestyle": "none", "markeredgewidth": 1.6}
OVER_SEEDS: dict[str, Any] = {"color": "#0072B2", "linewidth": 2.6, "solid_capstyle": "butt"}
OVER_PICTURES: dict[str, Any] = {"color": "#D55E00", "linewidth": 1, "marker": "|", "markersize": 4}
DIFFERENCE: dict[str, Any] = {"marker": "o", "color": "black", "markersize": 3.5, "linestyle": "none"}
NO_INTERVAL = DIFFERENCE | {"fillstyle": "none"}
ROW = LINE + 0.05  # inches
_LABEL = 30  # characters in a line of a row's label
_MOST = 150  # rows in one picture


def ordered(comparisons: Comparisons, key: str, sign: int = 1) -> list[Row]:
    """The rows that have `key`, family by family, the best mean first.

    Raises:
        Skip: there is none, or there are too many for a picture.
    """
    found: list[Row] = []
    for family in dict.fromkeys(row.family for row in comparisons.rows.rows):
        members = [row for row in comparisons.rows.rows if row.family == family and comparisons.values(row, key)]
        found += sorted(members, key=lambda row: -sign * fmean(comparisons.values(row, key).values()))
    if not found:
        raise Skip(f"no finished run has {key}")
    if len(found) > _MOST:
        raise Skip(f"{len(found)} rows are too many for a picture; --by KEY puts rows together")
    return found


def places(labels: Sequence[str]) -> list[float]:
    """The heights of rows whose labels may take several lines; 1 is that of one line."""
    sizes = [_size(label) for label in labels]
    return [sum(sizes[:place]) + size / 2 for place, size in enumerate(sizes)]


def height(labels: Sequence[str]) -> float:
    """Inches that the rows take."""
    return ROW * sum(map(_size, labels))


def _size(label: str) -> float:
    return 1 + wrapped(label, _LABEL).count("\n") * LINE / ROW


def row_axis(axes: Axes, labels: Sequence[str], families: Sequence[Any]) -> None:
    """One row per label from the top, with a rule between families."""
    ys = places(labels)
    axes.set_yticks(ys, [wrapped(label, _LABEL) for label in labels])
    axes.set_ylim(sum(map(_size, labels)) + 0.1, -0.1)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y")
    for place in range(1, len(labels)):
        if families[place] != families[place - 1]:
            axes.axhline(ys[place] - _size(labels[place]) / 2, color="0.6", linewidth=0.6, zorder=0)


def dots(axes: Axes, gid: str, values: Sequence[float], y: float) -> None:
    """A dot per seed and the mean."""
    axes.plot(values, [y] * len(values), gid=f"seeds/{gid}", **SEED)
    axes.plot([fmean(values)], [y], gid=f"mean/{gid}", **MEAN)


def difference(
    axes: Axes, gid: str, y: float, value: float, seeds: Interval | None, pictures: Interval | None = None
) -> None:
    """A difference with its interval over seeds and, below it, the one over test pictures."""
    if seeds is not None:
        axes.plot(seeds, [y, y], gid=f"interval/{gid}", **OVER_SEEDS)
    if pictures is not None:
        axes.plot(pictures, [y + 0.3] * 2, gid=f"pictures/{gid}", **OVER_PICTURES)
    axes.plot([value], [y], gid=f"difference/{gid}", **(NO_INTERVAL if seeds is None else DIFFERENCE))


def zero(axes: Axes, margin: float) -> None:
    """The line of no difference, and the band of differences that do not matter."""
    axes.axvspan(-margin, margin, color="0.92", zorder=0, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)


def explained(axes: Axes, level: float, margin: float, all_of: str) -> list[tuple[str, dict[str, Any]]]:
    """Legend entries of what `difference` and `zero` drew; the intervals over seeds hold for `all_of` at once."""
    drawn = {str(line.get_gid()).partition("/")[0] for line in axes.get_lines()}
    hollow = any(line.get_fillstyle() == "none" for line in axes.get_lines())
    entries = {
        f"{100 * level:g} % over seeds, for {all_of} at once": OVER_SEEDS if "interval" in drawn else None,
        f"{100 * level:g} % over test pictures": OVER_PICTURES if "pictures" in drawn else None,
        "no interval over seeds": NO_INTERVAL if hollow else None,
        f"too small to matter (±{margin:g})": {"color": "0.88", "linewidth": 6},
    }
    return [(words, style) for words, style in entries.items() if style is not None]


def keep_scale(axes: Axes, rows: Mapping[float, tuple[float, Sequence[float]]]) -> None:
    """Leave rows that lie far from all others out of the scale: an arrow with the number at the edge.

    Args:
        axes: where they are drawn.
        rows: y -> (mean, everything drawn there).
    """
    outside = far({y: mean for y, (mean, _) in rows.items()}) if rows else []
    if not outside:
        return
    near = [value for y, (_, values) in rows.items() if y not in outside for value in values]
    edge = 0.06 * (max(near) - min(near))
    axes.set_xlim(min(near) - edge, max(near) + edge)
    for y in outside:
        mean = rows[y][0]
        left = mean < min(near)
        text = f"◂ {signed(mean)}" if left else f"{signed(mean)} ▸"
        x, side = (0.01, "left") if left else (0.99, "right")
        plate = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        axes.text(
            x, y, text, transform=axes.get_yaxis_transform(), ha=side, va="center", fontsize=7, bbox=plate, gid="far"
        )  # fmt: skip
