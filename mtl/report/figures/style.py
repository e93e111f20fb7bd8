"""What all figures share: paper size, fonts, words and numbers on axes. Matplotlib without pyplot's state."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from mtl.metrics import METRICS
from mtl.report.compare import Comparisons
from mtl.report.rows import SCORE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: inches: the text width of a paper in two columns, and a line of text in a plot
WIDTH, LINE = 7.0, 0.14
DPI = 200
STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "text.parse_math": False,  # a name with $ prints as it is
    "text.usetex": False,
    "pdf.fonttype": 42,  # TrueType inside: text stays text
}
ARROWS = {True: "↑", False: "↓"}
_SHORT = {"mae": "MAE", "rmse_log": "RMSE", "f1_macro": "macro F1"}


class Skip(Exception):
    """The study has no data for a figure; the message says what is missing."""


def figure(comparisons: Comparisons, height: float, width: float = WIDTH) -> Figure:
    """An empty figure of `width` x `height` inches, with a note where its data are drawn."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    synthetic = {value is True for value in comparisons.rows.study.done["synthetic"]}
    if True in synthetic:
        drawn.suptitle(
            "synthetic data" if len(synthetic) == 1 else "partly synthetic data",
            x=0.995,
            ha="right",
            fontsize=7,
            color="0.3",
        )
    return drawn


def signed(value: float) -> str:
    """Three digits with a true minus sign."""
    return f"{value:.3g}".replace("-", "−")


def wrapped(label: str, width: int) -> str:
    """`label` in lines of at most `width` characters."""
    return "\n".join(textwrap.wrap(label, width)) or "all runs"


def metric_name(key: str) -> str:
    """`MAE (years)` of `test/age/mae_years`, `test score (points)` of `SCORE`."""
    if key == SCORE:
        return "test score (points)"
    metric = key.rpartition("/")[2]
    unit = METRICS.get(metric, ("", True))[0]
    short = metric.removesuffix(f"_{unit}")
    words = _SHORT.get(short, short.replace("_", " "))
    return words if unit in ("", "fraction") else f"{words} ({unit})"


def config(comparisons: Comparisons, run: str) -> dict[str, Any]:
    """The config.yaml of a run; empty where it cannot be read any more."""
    try:
        return comparisons.rows.config(run)
    except (OSError, ValueError):
        return {}


def whole(axes: Axes, most: int = 8) -> None:
    """At most so many whole numbers on the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=most))


def plain_log(axes: Axes, which: str) -> None:
    """A logarithmic axis whose numbers are plain text, as names are."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    subs = (1, 2, 5) if high / low < 30 else (1, 3) if high / low < 1000 else (1,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
