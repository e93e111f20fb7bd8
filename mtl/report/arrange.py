"""Finished runs -> rows and blocks: which runs are one row, and which rows may be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mtl.report.collect import Study
from mtl.report.measured import finished, measured
from mtl.report.rows import SINGLE, Row, Rows

_OF_WEIGHTING = ("weighting.", "prescale.", "names.prescale", "control.")
_TUNABLE = "optimizer."


def arrange(study: Study, by: Sequence[str] = ()) -> Rows:
    """The rows of the finished runs.

    Args:
        study: of which at least one run is finished.
        by: config keys, or columns, that alone tell rows apart; others that differ join the block. Without: the
            weighting and every key that differs, but the split seed.

    Raises:
        ValueError: no run is finished, or a key of `by` is none of those that differ.
    """
    if study.done.empty:
        raise ValueError(f"no run in {study.title} is finished: there is no table yet")
    runs = finished(study)
    differing = {"weighting": "weighting"} | study.keys
    if by:
        chosen = [_column(differing, key) for key in by]
        blocks = ["seed", *(column for column in differing.values() if column not in (*chosen, "tasks"))]
    else:
        blocks = ["seed", *(column for key, column in study.keys.items() if key == "data.split_seed")]
        chosen = [column for column in differing.values() if column not in blocks]
    keys = [column for column in chosen if column not in ("weighting", "tasks")]
    keys += ["tasks"] * ("tasks" in study.keys.values())
    task_lists: list[list[str]] = sorted((run["tasks"].split("+") for run in runs), key=len, reverse=True)
    tasks = _merge(task_lists)
    own = _of_one_weighting(study, runs)
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for run in sorted(runs, key=lambda run: _order(run, keys, tasks)):
        name = run["weighting"] if "weighting" in chosen else ""
        groups.setdefault((name, *(_text(run[key]) for key in keys)), []).append(run)
    rows = []
    for (weighting, *texts), members in groups.items():
        of_row = dict(zip(keys, texts, strict=True))
        row_tasks = tuple(task for task in tasks if task in members[0]["tasks"].split("+"))
        rows.append(
            Row(
                _label(weighting, of_row, row_tasks, tasks),
                weighting,
                of_row,
                row_tasks,
                {tuple(_text(run[column]) for column in blocks): (run["run"],) for run in members},
                () if by else tuple(text for key, text in of_row.items() if key not in own),
            )
        )
    rows = _with_single_task(rows, tasks)
    if all(len(row.tasks) == len(tasks) for row in rows):
        keys = [key for key in keys if key != "tasks"]
        rows = [_replace(row, keys={key: row.keys[key] for key in keys}) for row in rows]
    equal = {run["weighting"]: run["same_as"] or [] for run in runs}
    rows = [_replace(row, same_as=_same(row, rows, equal)) for row in rows]
    return Rows(study, rows, keys, blocks, tasks, measured(study))


def _of_one_weighting(study: Study, runs: Sequence[Mapping[str, Any]]) -> set[str]:
    """Columns in which rows of one family may differ: a weighting's own keys, and rates that were tuned for each."""
    own = {column for key, column in study.keys.items() if key.startswith(_OF_WEIGHTING)} | {"tasks"}
    tuned = set()
    for column in (column for key, column in study.keys.items() if key.startswith(_TUNABLE)):
        values: dict[tuple[str, ...], set[str]] = {}
        for run in runs:
            row = (run["weighting"], *(_text(run[key]) for key in sorted(own)))
            values.setdefault(row, set()).add(_text(run[column]))
        if all(len(of_row) == 1 for of_row in values.values()):  # else it is a factor of the study
            tuned.add(column)
    return own | tuned


def _column(differing: Mapping[str, str], key: str) -> str:
    if key in differing or key in differing.values():
        return differing.get(key, key)
    raise ValueError(f"'{key}' does not differ between the finished runs; these do: {', '.join(differing)}")


def _with_single_task(rows: Sequence[Row], tasks: Sequence[str]) -> list[Row]:
    """`rows`, in each family with a single-task row for every task these put together as one, at its end."""
    found = []
    for family in dict.fromkeys(row.family for row in rows):
        members = [row for row in rows if row.family == family]
        singles: dict[str, Row] = {}
        for row in members:
            if len(row.tasks) == 1 < len(tasks):
                singles.setdefault(row.tasks[0], row)
        first = next(iter(singles.values()), rows[0])
        shared = [block for block in first.runs if all(block in row.runs for row in singles.values())]
        if len(singles) < len(tasks) or not shared:
            found += members
            continue
        parts = [singles[task] for task in tasks]
        keys = parts[0].keys | {"tasks": "+".join(tasks)}
        runs = {block: tuple(run for row in parts for run in row.runs[block]) for block in shared}
        agreed = {key: keys[key] for key in keys if len({row.keys[key] for row in parts}) == 1}
        label = _label(SINGLE, agreed, tasks, tasks)
        found += [row for row in members if row not in parts]
        found.append(Row(label, SINGLE, keys, tuple(tasks), runs, family))
    return found


def _replace(row: Row, **changes: Any) -> Row:
    return Row(**{**row.__dict__, **changes})


def _same(row: Row, rows: Iterable[Row], equal: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(
        other.label
        for other in rows
        if other.family == row.family
        and other.weighting != row.weighting
        and (other.weighting in equal.get(row.weighting, ()) or row.weighting in equal.get(other.weighting, ()))
    )


def _label(weighting: str, keys: Mapping[str, str], row_tasks: Sequence[str], tasks: Sequence[str]) -> str:
    shown = {key: text for key, text in keys.items() if text and key != "tasks"}
    ends = [key.rpartition(".")[2] for key in shown]  # two may be alike: optimizer.lr, control.lr
    words = [weighting] * bool(weighting)
    names = [end if ends.count(end) == 1 else key for key, end in zip(shown, ends, strict=True)]
    words += [f"{name}={text}" for name, text in zip(names, shown.values(), strict=True)]
    if len(row_tasks) < len(tasks):
        words.append(f"[{', '.join(row_tasks)}]")
    return " ".join(words)


def _order(run: Mapping[str, Any], keys: Sequence[str], tasks: Sequence[str]) -> tuple[Any, ...]:
    """`sum` first, then by name and keys; single-task runs last, in the order of the tasks."""
    of_run = run["tasks"].split("+")
    return (
        len(of_run) == 1 < len(tasks),
        run["weighting"] != "sum",
        run["weighting"],
        [_sortable(run[key]) for key in keys if key != "tasks"],
        [tasks.index(task) for task in of_run],
        run["seed"],
    )


def _sortable(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return (not number, float(value) if number else 0.0, _text(value))


def _text(value: Any) -> str:
    """A key's value in a cell; empty where the run has no such key."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _merge(lists: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(item for items in lists for item in items))
