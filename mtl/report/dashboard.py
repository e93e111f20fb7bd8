"""The dashboard: one HTML file that holds the study, its page and plotly, opens from disk and asks no network."""

from __future__ import annotations

import base64
import gzip
import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from mtl.report.compare import Comparisons
from mtl.report.mistakes import mistakes
from mtl.report.payload import contents
from mtl.report.runs import configs_of, histories
from mtl.rundir import RunDir

#: one script, in this order
_SCRIPTS = ("dom", "study", "table", "verdicts", "plots", "points", "figures", "run", "pictures", "dashboard")
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def write(comparisons: Comparisons, path: Path) -> None:
    """Write the dashboard of a study to `path`.

    Raises:
        OSError: it cannot be written.
    """
    configs = configs_of(comparisons.rows)
    worst = mistakes(comparisons.rows, configs)
    text = page(contents(comparisons, configs, worst), histories(comparisons.rows))
    with RunDir(path.parent).replacing(path.name) as temporary:
        temporary.write_text(text, encoding="utf-8")


def page(study: dict[str, Any], epochs: dict[str, Any]) -> str:
    """The whole HTML text."""
    folder = files("mtl.report") / "page"
    parts = {
        "style": (folder / "dashboard.css").read_text(encoding="utf-8"),
        "script": "\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS),
        "study": _embedded(study),
        "histories": _packed(_embedded(epochs)),
        "plotly": _plotly(),
    }
    skeleton = (folder / "dashboard.html").read_text(encoding="utf-8")
    return _PLACE.sub(lambda place: parts[place[1]], skeleton)


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return _packed(get_plotlyjs())


def _embedded(content: Any) -> str:
    """JSON that neither ends a script element nor opens a comment in it; what is not finite is null."""
    text = json.dumps(_finite(content), separators=(",", ":"), allow_nan=False, default=str)
    return text.replace("<", "\\u003c")


def _packed(text: str) -> str:
    """A third of the size; the page unpacks it when a figure is first seen, so that it opens without that work."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not -float("inf") < content < float("inf") else content
