"""The rows of a report, and what the runs in their blocks measured."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mtl.metrics import METRICS
from mtl.report.collect import Study, load

#: the row of one network per task: the single-task runs of a seed, put together
SINGLE = "single-task"
SCORE, STEP = "test/score", "step_ms"

#: what two values must share to be compared: seed, then split seed where it varies, then what `by` leaves out
Block = tuple[str, ...]


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

    def config(self, run: str) -> dict[str, Any]:
        """The config.yaml of a finished run.

        Raises:
            OSError, ValueError: it cannot be read any more.
        """
        return load(self.directory(run) / "config.yaml")

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
        if "sweep" in values:  # for what else it sets, without its other rows
            values["hydra.sweeper.blocks"] = {"null": None}
        several = any(len(of_key) > 1 for of_key in values.values())
        words = ["python run.py", *(["-m"] if several else [])]
        for key, of_key in values.items():
            value = ",".join(of_key)
            # -m checks keys of a weighting against the default one unless they are a choice
            choice = several and key.startswith(("weighting.", "prescale.")) and len(of_key) == 1
            words.append(shlex.quote(f"{key}=choice({value})" if choice else f"{key}={value}"))
        return " ".join(words) if overrides and all(overrides) else ""
