"""A study's report up to its words, as `mtl.report` builds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtl.report.arrange import arrange
from mtl.report.caption import Caption, describe
from mtl.report.collect import Study, collect
from mtl.report.compare import Choices, Comparisons
from mtl.report.rows import Rows
from mtl.report.tables import Table, build


@dataclass
class Tabled:
    study: Study
    rows: Rows
    comparisons: Comparisons
    table: Table
    caption: Caption


def tabled(*folders: str | Path, by: Sequence[str] = (), **choices: Any) -> Tabled:
    """The table and its caption; `choices` are those of `Choices`."""
    study = collect(*folders)
    rows = arrange(study, by)
    comparisons = Comparisons(rows, Choices(**choices))
    table = build(comparisons)
    return Tabled(study, rows, comparisons, table, describe(study, table, comparisons))
