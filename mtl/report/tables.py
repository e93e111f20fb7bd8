"""The study table as numbers: one row per configuration, each number with its spread and its comparison."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mtl.metrics import METRICS
from mtl.report.compare import DELTA_M, SKILL_DELTA, Compared, Comparisons
from mtl.report.rows import SCORE, STEP, Row, Rows

#: the row of always guessing the training median or the most frequent class
TRIVIAL = "trivial"
VAL_SCORE = "val/score"


@dataclass(frozen=True)
class Cell:
    """Mean over `n` seeds; `std` is the standard deviation with n - 1, None for one seed."""

    mean: float
    std: float | None
    n: int
    #: with the baseline of its family; None at the baseline itself and where nothing is compared
    compared: Compared | None = None


@dataclass(frozen=True)
class Column:
    """One column of numbers; `task` is empty for scores and times."""

    key: str
    task: str
    metric: str
    unit: str
    higher: bool
    #: the metric of its task that the selection score uses; a terminal shows no other
    primary: bool = True


@dataclass(frozen=True)
class TableRow:
    """A row of the report, or the trivial guess, with one cell per column that it fills."""

    label: str
    weighting: str
    keys: dict[str, str]
    seeds: int
    cells: dict[str, Cell]
    command: str = ""
    same_as: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """What every output shows: terminal, text, Markdown, CSV, HTML, LaTeX."""

    keys: list[str]
    columns: list[Column]
    rows: list[TableRow]
    #: all tasks of the study; a run with fewer fills its own columns only
    tasks: list[str]


def build(comparisons: Comparisons) -> Table:
    """The table of the rows that are compared."""
    rows = comparisons.rows
    columns = _columns(rows)
    found = [
        TableRow(
            row.label,
            row.weighting,
            row.keys,
            len(row.runs),
            _cells(comparisons, row, columns),
            rows.command(row),
            row.same_as,
        )
        for row in rows.rows
    ]
    found += _trivial(rows, columns)
    filled = {key for row in found for key in row.cells}
    return Table(rows.keys, [column for column in columns if column.key in filled], found, rows.tasks)


def to_records(table: Table) -> list[dict[str, Any]]:
    """One mapping per row in full precision: weighting, keys, seeds, then mean, std and n per column, the command."""
    records = []
    for row in table.rows:
        record: dict[str, Any] = {"weighting": row.weighting}
        record |= {key: row.keys.get(key, "") for key in table.keys} | {"seeds": row.seeds or None}
        for column in table.columns:
            cell = row.cells.get(column.key)
            record[f"{column.key}/mean"] = cell.mean if cell else None
            record[f"{column.key}/std"] = cell.std if cell else None
            record[f"{column.key}/n"] = cell.n if cell and row.seeds else None
        records.append(record | {"command": row.command or None})
    return records


def comparison_records(table: Table) -> list[dict[str, Any]]:
    """One mapping per row and column that is compared: difference, both intervals, all statistics, verdict."""
    records = []
    for column in table.columns:
        for row in table.rows:
            cell = row.cells.get(column.key)
            if cell is None or (one := cell.compared) is None:
                continue
            s = one.statistics
            records.append(
                {
                    "quantity": column.key,
                    "row": row.label,
                    "baseline": one.baseline.label,
                    "difference": one.difference,
                    "low": one.interval[0] if one.interval else None,
                    "high": one.interval[1] if one.interval else None,
                    "pictures_low": one.pictures[0] if one.pictures else None,
                    "pictures_high": one.pictures[1] if one.pictures else None,
                    "verdict": one.verdict or one.refused,
                    "p": s.p if s else None,
                    "effect": s.effect if s else None,
                    "improvement": s.improvement if s else None,
                    "detectable": s.detectable if s else None,
                    "seeds_needed": s.seeds_needed if s else None,
                    "degrees": s.degrees if s else None,
                    "variance": s.method if s else None,
                    "sign_flip_p": s.sign_flip if s else None,
                    "bootstrap_low": s.bootstrap[0] if s and s.bootstrap else None,
                    "bootstrap_high": s.bootstrap[1] if s and s.bootstrap else None,
                }
            )
    return records


def estimate(values: Iterable[float], compared: Compared | None = None) -> Cell:
    """Mean and spread of at least one value."""
    numbers = list(values)
    spread = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Cell(statistics.fmean(numbers), spread, len(numbers), compared)


def _cells(comparisons: Comparisons, row: Row, columns: Sequence[Column]) -> dict[str, Cell]:
    cells = {}
    for column in columns:
        if values := comparisons.values(row, column.key):
            compared = comparisons.of(column.key, column.higher) if column.key != STEP else {}
            cells[column.key] = estimate(values.values(), compared.get(row.label))
    return cells


def _trivial(rows: Rows, columns: Sequence[Column]) -> list[TableRow]:
    """One row per data set: the guess depends on nothing else; its spread is that over splits."""
    keys = [name for key, name in rows.study.keys.items() if key.startswith(("data.", "names.data"))]
    keys = [key for key in rows.keys if key in keys]
    groups: dict[tuple[str, ...], dict[str, dict[float, None]]] = {}
    for row in rows.rows:
        group = groups.setdefault(tuple(row.keys[key] for key in keys), {})
        for run in (run for runs in row.runs.values() for run in runs):
            for key, value in rows.numbers[run].items():
                if key.startswith("trivial/"):
                    group.setdefault(key.replace("trivial/", "test/", 1), {})[value] = None
    return [
        TableRow(TRIVIAL, TRIVIAL, dict(zip(keys, texts, strict=True)), 0, {k: estimate(v) for k, v in group.items()})
        for texts, group in groups.items()
        if group
    ]


def _columns(rows: Rows) -> list[Column]:
    """Task by task in the order of METRICS, then the scores and the time of a step."""
    filled = {key for of_run in rows.numbers.values() for key in of_run}
    columns = []
    for task in rows.tasks:
        prefix = f"test/{task}/"
        metrics = [metric for metric in METRICS if f"{prefix}{metric}" in filled]
        for rank, metric in enumerate(metrics):
            columns.append(Column(prefix + metric, task, metric, *METRICS[metric], primary=rank == 0))
    return [
        *columns,
        Column(SCORE, "", "score", "points", True),
        Column(DELTA_M, "", "Δm", "%", True),
        Column(SKILL_DELTA, "", "Δskill", "points", True, primary=False),
        Column(VAL_SCORE, "", VAL_SCORE, "points", True, primary=False),
        Column(STEP, "", STEP, "ms", False),
    ]
