"""Replay: train again at the mean effective weights of a finished run. Do the dynamics of its method matter at all?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mtl.identity import hash8
from mtl.rundir import RunDir


def replay(config: dict[str, Any]) -> None:
    """Turn `weighting=constant weighting.from_run=RUN_DIR` into constant weights, in place; else nothing.

    The weights are the run's means over all its epochs. The new run is called after the replayed one and belongs to it:
    not the numbers, which differ from seed to seed, but the run that they are from makes its identity, so that replays
    of several seeds are one row of a table.

    Raises:
        ValueError: there is no such run, it is not finished, has other tasks, or weights are given, too.
    """
    weighting = config["weighting"]
    if weighting.get("from_run") is None:
        return
    key = f"weighting.from_run={weighting['from_run']}"
    if weighting["method"]["weights"]:
        raise ValueError(f"{key}: weighting.method.weights are given, too; leave one of them out.")
    run = RunDir(Path(str(weighting["from_run"])).expanduser())
    try:
        source = yaml.safe_load((run.path / "config.yaml").read_text())
        name, seed, tasks = source["names"]["weighting"], source["seed"], source["tasks"]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise ValueError(f"{key}: expected the folder of a run, runs/STUDY/RUN, with its config.yaml.") from error
    if run.status().get("status") != "done":
        raise ValueError(f"{key}: that run is not finished; the command that started it goes on with it.")
    if set(tasks) != set(config["tasks"]):
        raise ValueError(f"{key}: that run has the tasks {', '.join(tasks)}, this one {', '.join(config['tasks'])}.")
    rows = run.rows("history.jsonl")
    weights = {}
    for task in config["tasks"]:
        seen = [row[f"weight/{task}"] for row in rows if row[f"weight/{task}"] is not None]
        if not seen:
            raise ValueError(f"{key}: that run has no weight of task '{task}'.")
        weights[task] = sum(seen) / len(seen)
    weighting["method"]["weights"] = weights
    weighting["replay_of"] = hash8(source) if seed == config["seed"] else f"{hash8(source)}-s{seed}"
    config["names"]["weighting"] = f"replay_{name}"
