"""The figures of a report: PDF for a paper, PNG for a page. Only those that the study has data for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtl.report.compare import Comparisons
from mtl.report.figures import conflict, curves, errors, front, relations, replays, scores
from mtl.report.figures.style import STYLE, Skip
from mtl.rundir import RunDir

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "figures"


@dataclass(frozen=True)
class Drawn:
    """What `draw` made: the files, and why it left out the other figures."""

    paths: list[Path]
    #: name of a figure -> the reason in words
    skipped: dict[str, str]


def draw(comparisons: Comparisons, folder: Path) -> Drawn:
    """Write every figure that the study has data for to `folder`/figures as NAME.pdf and NAME.png.

    What an earlier call drew and this one leaves out is removed: it would show other data than the rest.

    Raises:
        OSError: a file cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    target = RunDir(folder / FOLDER)
    target.path.mkdir(parents=True, exist_ok=True)
    drawn = Drawn([], {})
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a reader's own style must not change a report
        matplotlib.rcParams.update(STYLE)
        for name, make in _figures(comparisons).items():
            files = [f"{name}.pdf", f"{name}.png"]
            try:
                picture = make(comparisons)
            except Skip as reason:
                drawn.skipped[name] = str(reason)
                for file in files:
                    target.remove(file)
                continue
            # Not savefig, which draws a figure twice for each file.
            with target.replacing(f"{name}.png") as path:
                png: Any = FigureCanvasAgg(picture)
                png.print_png(path)
            picture.set_layout_engine("none")  # found by now
            with target.replacing(f"{name}.pdf") as path:
                # Without a date, so that equal data make equal files.
                pdf: Any = FigureCanvasPdf(picture)
                pdf.print_pdf(path, metadata={"CreationDate": None})
            drawn.paths.extend(target.path / file for file in files)
    return drawn


def _figures(comparisons: Comparisons) -> dict[str, Callable[[Comparisons], Figure]]:
    regressions = [task for task, kind in errors.kinds(comparisons).items() if kind.get("kind") == "regression"]
    return {
        "scores": scores.scores,
        "tasks": scores.tasks,
        "curves": curves.curves,
        "weights": curves.weights,
        "conflict": conflict.conflict,
        "front": front.front,
        "learning_rate": relations.learning_rate,
        "replay": replays.replay,
        **{re.sub(r"[^\w.-]", "_", f"{task}_error"): partial(errors.error, task=task) for task in regressions},
        "confusion": errors.confusion,
        "cost": relations.cost,
    }
