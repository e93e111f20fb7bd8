"""The study table as numbers: one row per configuration, mean and spread over its seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtl.metrics import METRICS
from mtl.report.collect import Study

#: the row of always guessing the training median or the most frequent class
TRIVIAL = "trivial"
SCORE, STEP = "val/score", "step_ms"


@dataclass(frozen=True)
class Estimate:
    """Mean over `n` seeds; `std` is the standard deviation with n - 1, None for one seed."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class Column:
    """One column of numbers; `task` is empty for the validation score and the time of a step."""

    key: str
    task: str
    metric: str
    unit: str
    higher: bool | None
    #: the metric of its task that the selection score uses; a terminal shows no other
    primary: bool = True


@dataclass(frozen=True)
class Row:
    """One configuration: the weighting's name, a text per key column, an estimate per column it fills."""

    weighting: str
    keys: dict[str, str]
    seeds: int
    cells: dict[str, Estimate]


@dataclass(frozen=True)
class Table:
    """What every output shows: terminal, text, Markdown, CSV."""

    keys: list[str]
    columns: list[Column]
    rows: list[Row]
    #: all tasks of the study; a run with fewer fills its own columns only
    tasks: list[str]


@dataclass(frozen=True)
class _Run:
    weighting: str
    seed: int
    tasks: list[str]
    keys: dict[str, Any]
    numbers: dict[str, float]
    trivial: dict[str, float]


def build(study: Study) -> Table:
    """The table of the finished runs.

    Raises:
        ValueError: no run is finished.
    """
    runs = _finished(study)
    if not runs:
        raise ValueError(f"no run in {study.folder} is finished: there is no table yet")
    longest_first = sorted((run.tasks for run in runs), key=len, reverse=True)
    tasks = _merge(longest_first)
    keys = sorted(runs[0].keys, key=lambda key: key == "tasks")
    groups: dict[tuple[str, ...], list[_Run]] = {}
    runs.sort(key=lambda run: _order(run, keys, tasks))
    for run in runs:
        groups.setdefault((run.weighting, *(_text(run.keys[key]) for key in keys)), []).append(run)
    rows = [
        Row(
            weighting,
            dict(zip(keys, texts, strict=True)),
            len(group),
            _estimates(run.numbers for run in group),
        )
        for (weighting, *texts), group in groups.items()
    ]
    rows += _trivial_rows(runs, [name for key, name in study.keys.items() if key.startswith(("data.", "names.data"))])
    filled = {key for row in rows for key in row.cells}
    columns = [column for column in _columns(tasks, sorted(filled)) if column.key in filled]
    return Table(keys, columns, rows, tasks)


def to_records(table: Table) -> list[dict[str, Any]]:
    """One mapping per row in full precision: weighting, keys, seeds, then mean, std and n per column."""
    records = []
    for row in table.rows:
        record: dict[str, Any] = {"weighting": row.weighting, **row.keys, "seeds": row.seeds or None}
        for column in table.columns:
            cell = row.cells.get(column.key)
            record[f"{column.key}/mean"] = cell.mean if cell else None
            record[f"{column.key}/std"] = cell.std if cell else None
            record[f"{column.key}/n"] = cell.n if cell and row.seeds else None
        records.append(record)
    return records


def _finished(study: Study) -> list[_Run]:
    numbers: dict[str, dict[str, float]] = {}
    trivial: dict[str, dict[str, float]] = {}
    defined = study.values.dropna(subset="value")  # an accuracy without labels is not
    for name, split, task, metric, value in defined.itertuples(index=False):
        if split == "trivial":
            trivial.setdefault(name, {})[f"test/{task}/{metric}"] = value
        elif split == "test" and task:
            numbers.setdefault(name, {})[f"test/{task}/{metric}"] = value
        elif split == "val" and not task:
            numbers.setdefault(name, {})[SCORE] = value
    runs = []
    all_tasks: dict[str, list[str]] = {}
    for row in study.done.to_dict("records"):
        all_tasks[row["data"]] = _merge([all_tasks.get(row["data"], []), row["tasks"].split("+")])
    for row in study.done.to_dict("records"):
        own, tasks = numbers.get(row["run"], {}), row["tasks"].split("+")
        if row[STEP] is not None:
            own[STEP] = row[STEP]
        # The score is a mean over the run's own tasks: with fewer tasks it is another quantity.
        if set(tasks) != set(all_tasks[row["data"]]):
            own.pop(SCORE, None)
        keys = {column: row[column] for column in study.keys.values()}
        runs.append(_Run(row["weighting"], row["seed"], tasks, keys, own, trivial.get(row["run"], {})))
    return runs


def _order(run: _Run, keys: Sequence[str], tasks: Sequence[str]) -> tuple[Any, ...]:
    """`sum` first, then by name and keys; single-task runs last, in the order of the tasks."""
    single = len(run.tasks) == 1 < len(tasks)
    return (
        single,
        run.weighting != "sum",
        run.weighting,
        [_sortable(run.keys[key]) for key in keys if key != "tasks"],
        [tasks.index(task) for task in run.tasks],
        run.seed,
    )


def _sortable(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return (not number, float(value) if number else 0.0, _text(value))


def _text(value: Any) -> str:
    """A key's value in a cell; empty where the run has no such key."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _estimates(runs: Iterable[Mapping[str, float]]) -> dict[str, Estimate]:
    values: dict[str, list[float]] = {}
    for numbers in runs:
        for key, value in numbers.items():
            values.setdefault(key, []).append(value)
    return {
        key: Estimate(statistics.fmean(of_key), statistics.stdev(of_key) if len(of_key) > 1 else None, len(of_key))
        for key, of_key in values.items()
    }


def _trivial_rows(runs: Sequence[_Run], keys: Sequence[str]) -> list[Row]:
    """One row per data set and split: the guess depends on nothing else, so it has no spread over seeds."""
    groups: dict[tuple[str, ...], dict[str, float]] = {}
    for run in runs:
        group = groups.setdefault(tuple(_text(run.keys[key]) for key in keys), {})
        group |= run.trivial
    return [
        Row(TRIVIAL, dict(zip(keys, texts, strict=True)), 0, _estimates([numbers]))
        for texts, numbers in groups.items()
        if numbers
    ]


def _columns(tasks: Sequence[str], filled: Sequence[str]) -> list[Column]:
    """Task by task in the order of METRICS, then the validation score and the time of a step."""
    columns = []
    for task in tasks:
        prefix = f"test/{task}/"
        metrics = [key.removeprefix(prefix) for key in filled if key.startswith(prefix)]
        metrics.sort(key=lambda metric: list(METRICS).index(metric) if metric in METRICS else len(METRICS))
        for rank, metric in enumerate(metrics):
            unit, higher = METRICS.get(metric, ("", None))
            columns.append(Column(prefix + metric, task, metric, unit, higher, primary=rank == 0))
    return [*columns, Column(SCORE, "", SCORE, "", True), Column(STEP, "", STEP, "ms", False)]


def _merge(lists: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(item for items in lists for item in items))
