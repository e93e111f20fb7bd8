"""The runs of a study for the dashboard: results, config, environment, cost and history of each, as plain values."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mtl.identity import flatten
from mtl.metrics import METRICS
from mtl.report.collect import load
from mtl.report.render import heading
from mtl.report.rows import Rows
from mtl.report.tables import Column
from mtl.rundir import RunDir

_COST = {
    "step_ms": "step (ms)",
    "images_per_s": "pictures per second",
    "train_s": "training (s)",
    "total_s": "in all (s)",
    "peak_mib": "peak memory (MiB)",
    "parameters": "parameters",
}


def configs_of(rows: Rows) -> dict[str, dict[str, Any]]:
    """Run -> its config.yaml, of every run directory that has one that can be read."""
    found = {}
    for run, directory in rows.study.runs[["run", "directory"]].itertuples(index=False):
        with suppress(OSError, ValueError):  # the run's own line says what is wrong with it
            found[run] = load(Path(directory) / "config.yaml")
    return found


def runs_of(
    rows: Rows, configs: Mapping[str, Mapping[str, Any]], names: Sequence[str], places: Mapping[str, int]
) -> dict[str, Any]:
    """All run directories, finished or not; what most of them share (config, environment) is there once."""
    values: dict[str, dict[str, float]] = {}
    for run, split, task, metric, value in rows.study.values.dropna(subset="value").itertuples(index=False):
        number = 100 * value if metric == "score" else value
        values.setdefault(run, {})[f"{split}/{task}/{metric}" if task else f"{split}/score"] = number
    of_run = {run: places[row.label] for row in rows.rows for runs in row.runs.values() for run in runs}
    flat = {run: {key: _text(value) for key, value in flatten(config).items()} for run, config in configs.items()}
    common = _common(list(flat.values()))
    environments: dict[str, int] = {}
    found = []
    for run in rows.study.runs.to_dict("records"):
        name, directory = run["run"], RunDir(Path(run["directory"]))
        status = directory.status()
        environment = flatten(content) if isinstance(content := directory.read("env.json"), dict) else {}
        found.append(
            {
                "name": name,
                "status": run["status"],
                "error": run["error"],
                "traceback": status.get("traceback", ""),
                "started": status.get("started"),
                "ended": status.get("ended"),
                "row": of_run.get(name),
                "seed": run["seed"],
                "weighting": run["weighting"],
                "tasks": run["tasks"].split("+") if run["tasks"] else [],
                "command": _command(run["overrides"]),
                "selected": None if run["selected_epoch"] is None else run["selected_epoch"] + 1,
                "cost": [[key, title, run[key]] for key, title in _COST.items() if run[key] is not None],
                "values": values.get(name, {}),
                "config": {k: v for k, v in flat.get(name, {}).items() if common.get(k) != v},
                "lacks": [key for key in common if key not in flat[name]] if name in flat else [],
                "environment": environments.setdefault(json.dumps(environment), len(environments)),
            }
        )
    return {
        "runs": found,
        "common": common,
        "environments": [{k: _text(v) for k, v in json.loads(one).items()} for one in environments],
        "metrics": {metric: [heading(Column("", "", metric, *of))[0], *of] for metric, of in METRICS.items()},
    }


def _common(configs: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The most frequent value of each key, so that a run's own part is short."""
    counts: dict[str, dict[str, int]] = {}
    for config in configs:
        for key, text in config.items():
            of_key = counts.setdefault(key, {})
            of_key[text] = of_key.get(text, 0) + 1
    return {key: max(of_key, key=of_key.__getitem__) for key, of_key in counts.items()}


def _command(overrides: Sequence[str] | None) -> str:
    return "" if overrides is None else shlex.join(["python", "run.py", *overrides])


def histories(rows: Rows) -> dict[str, Any]:
    """Columns, and per run one list of values per column, to five digits; a run without history is missing."""
    frame = rows.study.epochs
    if frame.empty:
        return {"columns": [], "runs": {}}
    numeric = [str(c) for c in frame if c not in ("run", "epoch") and frame[c].dtype.kind in "fi"]
    columns = ["epoch", *(c for c in numeric if frame[c].notna().any())]
    runs = {
        str(run): [[_rounded(value) for value in part[column]] for column in columns]
        for run, part in frame.groupby("run", sort=False)
    }
    return {"columns": columns, "runs": runs}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _rounded(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None
