"""The rows of a report: which runs are one row, which values stand in one block, and what a value is."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mtl.metrics import METRICS
from mtl.report.collect import Study
from mtl.report.measured import finished, measured

#: the row of one network per task: the single-task runs of a seed, put together
SINGLE = "single-task"
SCORE, STEP = "test/score", "step_ms"

#: what two values must share to be compared: seed, then split seed where it varies, then what `by` leaves out
Block = tuple[str, ...]
_OF_WEIGHTING = ("weighting.", "prescale.", "names.prescale", "control.")
_TUNABLE = "optimizer."


@dataclass(frozen=True)
class Row:
    """One configuration. Rows of one `family` differ in their weighting only, and are compared."""

    label: str
    weighting: str
    #: key column -> text, empty where the row has no such key
    keys: dict[str, str]
    tasks: tuple[str, ...]
    #: block -> its runs: one, or one per task of `SINGLE`
    runs: dict[Block, tuple[str, ...]]
    family: tuple[str, ...]
    #: labels of rows whose weighting is the same in all but its name or a factor
    same_as: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rows:
    """All rows of a study in the order of a table, and what their runs measured."""

    study: Study
    rows: list[Row]
    #: columns of keys that tell rows apart
    keys: list[str]
    #: what a block is made of: `seed`, ...
    blocks: list[str]
    tasks: list[str]
    #: run -> key -> value: test/TASK/METRIC, skill/TASK, test/score and val/score (points), step_ms, ...
    numbers: dict[str, dict[str, float]]

    def values(self, row: Row, key: str) -> dict[Block, float]:
        """Block -> value of `key`; of `SINGLE` the mean skill as score, and the sum of the times."""
        found = {}
        for block, runs in row.runs.items():
            if row.weighting == SINGLE and key == SCORE:
                skills = [self.numbers[run].get(f"skill/{task}") for run, task in zip(runs, row.tasks, strict=True)]
                values = [] if None in skills else [100 * sum(s for s in skills if s is not None) / len(skills)]
            else:
                values = [self.numbers[run][key] for run in runs if key in self.numbers[run]]
            if values:
                found[block] = sum(values)
        return found

    def directory(self, run: str) -> Path:
        """Where the files of a finished run are."""
        return self._directories[run]

    @cached_property
    def _directories(self) -> dict[str, Path]:
        done = self.study.done
        return {run: Path(path) for run, path in zip(done["run"], done["directory"], strict=True)}

    def primary(self, task: str) -> tuple[str, int]:
        """The key of the metric of `task` that its skill uses, and 1 if higher is better, else -1."""
        keys = {key for of_run in self.numbers.values() for key in of_run}
        for metric, (_, higher) in METRICS.items():
            if f"test/{task}/{metric}" in keys:
                return f"test/{task}/{metric}", 1 if higher else -1
        return f"test/{task}/", 1

    def find(self, name: str) -> Row:
        """The first row with this label, or else with this weighting.

        Raises:
            ValueError: there is none.
        """
        for row in [*(r for r in self.rows if r.label == name), *(r for r in self.rows if r.weighting == name)]:
            return row
        labels = ", ".join(row.label for row in self.rows)
        raise ValueError(f"no row is called '{name}'; expected one of {labels}")

    def command(self, row: Row) -> str:
        """What trains the runs of `row` again, seeds and all."""
        names = {run for runs in row.runs.values() for run in runs}
        done = self.study.done
        overrides = [words or [] for words in done[done["run"].isin(names)]["overrides"]]
        # In the order of the first run; what differs between the runs (seed, tasks) becomes a list.
        values: dict[str, dict[str, None]] = {}
        for words in overrides:
            for word in words:
                key, _, value = word.partition("=")
                values.setdefault(key, {})[value] = None
        several = any(len(of_key) > 1 for of_key in values.values())
        words = ["python run.py", *(["-m"] if several else [])]
        for key, of_key in values.items():
            value = ",".join(of_key)
            # -m checks keys of a weighting against the default one unless they are a choice
            choice = several and key.startswith(("weighting.", "prescale.")) and len(of_key) == 1
            words.append(shlex.quote(f"{key}=choice({value})" if choice else f"{key}={value}"))
        return " ".join(words) if overrides and all(overrides) else ""


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
