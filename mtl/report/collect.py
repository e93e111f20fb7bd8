"""Reads the run directories of a study into data frames; runs without results are listed with the reason."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mtl.identity import scientific
from mtl.report import keys as keys_of
from mtl.rundir import RunDir

if TYPE_CHECKING:
    import pandas as pd

# The C parser reads a config in 0.6 ms, the Python one in 4: with that, YAML would be most of the time.
_YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
COST = ("step_ms", "images_per_s", "peak_mib", "train_s", "total_s", "parameters")
_RUN_COLUMNS = (
    "study",
    "run",
    "directory",
    "status",
    "error",
    "seed",
    "weighting",
    "data",
    "synthetic",
    "tasks",
    "overrides",
    "same_as",
    "selected_epoch",
    *COST,
)
_VALUE_COLUMNS = ("run", "split", "task", "metric", "value")


@dataclass(frozen=True)
class Study:
    """One study, or several put together. `tasks` in `runs` is joined by `+`; `score` in `values` has an empty task."""

    folders: tuple[Path, ...]
    #: one row per run directory: `_RUN_COLUMNS`, then the columns of `keys`; None where a run has nothing
    runs: pd.DataFrame
    #: one row per number of the finished runs: run, split (val, test, trivial), task, metric, value
    values: pd.DataFrame
    #: scientific config key that differs between finished runs -> its column in `runs`
    keys: dict[str, str]
    #: scientific config key -> value, where all finished runs agree
    shared: dict[str, Any]

    @property
    def title(self) -> str:
        """The folders, for a sentence."""
        return ", ".join(map(str, self.folders))

    @property
    def name(self) -> str:
        """The names of the studies."""
        return " + ".join(folder.resolve().name for folder in self.folders)

    @cached_property
    def tidy(self) -> pd.DataFrame:
        """One row per number of a finished run: `values` with the columns of `runs`, cost too, beside it."""
        return self.values.merge(self.done, on="run", how="left", validate="many_to_one")

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row per epoch of a finished run: `run`, `epoch` from 1, and the other columns of its history.jsonl.

        What is no row is left out; `damaged` says where.
        """
        import pandas as pd

        return pd.DataFrame([row for run in self._histories for row in run[0]])

    @cached_property
    def damaged(self) -> list[str]:
        """Finished runs whose history.jsonl is missing or has lines that are no JSON, in words."""
        return [words for _, words in self._histories if words]

    @cached_property
    def _histories(self) -> list[tuple[list[dict[str, Any]], str]]:
        return [_history(*of_run) for of_run in self.done[["run", "directory"]].itertuples(index=False)]

    @property
    def done(self) -> pd.DataFrame:
        """The rows of `runs` that have results."""
        return self.runs[self.runs["status"] == "done"]


@dataclass
class _Run:
    row: dict[str, Any]
    config: dict[str, Any]
    values: list[tuple[str, str, str, str, float | None]]


def collect(*folders: str | Path) -> Study:
    """The study in a folder, or several studies as one: every subfolder with a `status.json` or `config.yaml` is a run.

    Raises:
        ValueError: one of `folders` is not a study.
    """
    import pandas as pd

    paths = tuple(Path(folder) for folder in folders)
    found = [(directory, path.resolve().name) for path in paths for directory in _run_directories(path)]
    several = len({directory.name for directory, _ in found}) < len(found)
    runs = [
        _read(directory, study, f"{study}/{directory.name}" if several else directory.name)
        for directory, study in found
    ]
    _mark_copies(runs)
    done = [run for run in runs if run.row["status"] == "done"]
    tasks = {task for run in runs for task in run.config.get("tasks", [])}
    keys = keys_of.columns(
        keys_of.differing([run.config for run in done or runs]),
        taken={*_RUN_COLUMNS, *_VALUE_COLUMNS} - {"tasks", "data"} | tasks,
    )
    for run in runs:
        run.row |= {column: keys_of.cell(run.config[key]) for key, column in keys.items() if key in run.config}
    columns = list(dict.fromkeys([*_RUN_COLUMNS, *keys.values()]))
    values = [value for run in done for value in run.values]
    return Study(
        folders=paths,
        # Objects: pandas would turn the 2 of a column with gaps into 2.0, and None into NaN.
        runs=pd.DataFrame([[run.row.get(c) for c in columns] for run in runs], columns=columns, dtype=object),
        values=pd.DataFrame(values, columns=list(_VALUE_COLUMNS)),
        keys=keys,
        shared=keys_of.shared([run.config for run in done]),
    )


def _run_directories(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; give the folder of a study, such as runs/default")
    if _is_run(folder):
        raise ValueError(f"{folder} is one run; give its study: {folder.resolve().parent}")
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir())
    found = [path for path in subfolders if _is_run(path)]
    if not found:
        studies = [path.name for path in subfolders if any(map(_is_run, path.iterdir()))]
        hint = f"; the studies in it: {', '.join(studies)}" if studies else ""
        raise ValueError(f"{folder} holds no run (no subfolder with a status.json or config.yaml){hint}")
    return found


def _is_run(directory: Path) -> bool:
    return (directory / "status.json").exists() or (directory / "config.yaml").exists()


def _read(directory: Path, study: str, name: str) -> _Run:
    """The run in `directory`; whatever is wrong with its files becomes its status and error."""
    row: dict[str, Any] = {"study": study, "run": name, "directory": str(directory), "error": ""}
    run = _Run(row, {}, [])
    try:
        row["overrides"] = load(directory / "status.json").get("overrides")  # says what is wrong with it
        row["status"], row["error"] = RunDir(directory).state()
        if row["status"] != "done" and not (directory / "config.yaml").exists():
            return run
        config = load(directory / "config.yaml")
        run.config = scientific(config)
        names = config["names"]
        row |= {"seed": config["seed"], "weighting": names["weighting"], "tasks": "+".join(config["tasks"])}
        row |= {"data": names["data"], "synthetic": config["data"].get("synthetic")}
        row["same_as"] = config.get("weighting", {}).get("same_as")
        if row["status"] == "done":
            metrics, cost = load(directory / "metrics.json"), load(directory / "cost.json")
            row["selected_epoch"] = metrics["selected_epoch"]
            row |= {key: cost.get(key) for key in COST}
            run.values = _values(name, metrics)
    except FileNotFoundError as error:
        row |= {"status": "unreadable", "error": f"{Path(error.filename).name} is missing"}
    except (OSError, ValueError) as error:
        row |= {"status": "unreadable", "error": str(error)}
    except KeyError as error:
        row |= {"status": "unreadable", "error": f"its files lack the key {error}"}
    except (TypeError, AttributeError) as error:
        row |= {"status": "unreadable", "error": f"its files have not the expected form: {error}"}
    return run


def load(path: Path) -> dict[str, Any]:
    """A mapping in a JSON or YAML file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.load(text, _YamlLoader)
        return dict(content.items())
    except (ValueError, AttributeError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name} is damaged: {' '.join(str(error).split())}") from error


def _history(run: str, directory: str) -> tuple[list[dict[str, Any]], str]:
    """The epochs of a run, and what is wrong with its file."""
    try:
        lines = (Path(directory) / "history.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return [], f"{run}: history.jsonl is missing"
    rows, bad = [], []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows.append({"run": run, **row, "epoch": row["epoch"] + 1})
        except (ValueError, TypeError, KeyError):
            bad.append(str(number))
    return rows, f"{run}: history.jsonl is damaged in line {', '.join(bad)}" if bad else ""


def _values(run: str, metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str, float | None]]:
    rows = []
    for split in ("val", "test", "trivial"):
        for task, numbers in metrics[split].items():
            pairs = {"score": numbers} if task == "score" else numbers
            for metric, value in pairs.items():
                number = None if value is None or not math.isfinite(value) else float(value)
                rows.append((run, split, "" if task == "score" else task, metric, number))
    return rows


def _mark_copies(runs: Sequence[_Run]) -> None:
    """A copied run directory must not count as a further seed."""
    seen: dict[str, str] = {}
    for run in runs:
        identity = json.dumps([run.row.get("seed"), run.config], sort_keys=True, default=str)
        if run.row["status"] == "done" and identity in seen:
            run.row |= {"status": "copy", "error": f"the same configuration and seed as {seen[identity]}"}
        elif run.row["status"] == "done":
            seen[identity] = run.row["run"]
