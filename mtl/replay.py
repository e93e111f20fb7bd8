"""Replay: train again at the mean effective weights of a finished run. Do the dynamics of its method matter at all?"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from mtl.build import build_weighting, load_data, settle, tasks_of
from mtl.config import CONF
from mtl.identity import hash8, run_name
from mtl.rundir import RunDir


def replay(config: dict[str, Any]) -> None:
    """Turn `weighting=constant weighting.from_run=RUN` into constant weights, in place; else nothing.

    The weights are the run's means over all its epochs.

    Raises:
        ValueError: there is no such run, it is not finished, has other tasks, or weights are given, too.
    """
    run = call_after_source(config)
    if run is None:
        return
    weighting = config["weighting"]
    key = f"weighting.from_run={weighting['from_run']}"
    if run.state()[0] != "done":
        raise ValueError(f"{key}: the run {run.path.name} is not finished; the command that trains it goes on with it.")
    rows = run.rows("history.jsonl")
    weights = {}
    for task in config["tasks"]:
        seen = [row[f"weight/{task}"] for row in rows if row.get(f"weight/{task}") is not None]
        if not seen:
            raise ValueError(f"{key}: that run has no weight of task '{task}'.")
        weights[task] = sum(seen) / len(seen)
    weighting["method"]["weights"] = weights


def call_after_source(config: dict[str, Any]) -> RunDir | None:
    """Name the replay in `config` after the run that it is of, which need not be finished: that run; None: no replay.

    `from_run` is the folder of a run, or the name of a weighting: then the run of this study with that weighting and
    its own options, everything else being equal. Not the weights, which differ from seed to seed, but the run that they
    are from makes the replay's identity, so that replays of several seeds are one row of a table.

    Raises:
        ValueError: there is no such run, it has other tasks, or weights are given, too.
    """
    weighting = config["weighting"]
    if weighting.get("from_run") is None:
        return None
    key, word = f"weighting.from_run={weighting['from_run']}", str(weighting["from_run"])
    if weighting["method"]["weights"]:
        raise ValueError(f"{key}: weighting.method.weights are given, too; leave one of them out.")
    if "/" not in word and (CONF / "weighting" / f"{word}.yaml").exists():
        source = _sibling(config, word)
        run = RunDir(Path(config["runs_dir"]) / config["study"] / run_name(source))
    else:
        run = RunDir(Path(word).expanduser())
        source = _read(run, key)
    if set(source["tasks"]) != set(config["tasks"]):
        theirs, ours = ", ".join(source["tasks"]), ", ".join(config["tasks"])
        raise ValueError(f"{key}: that run has the tasks {theirs}, this one {ours}.")
    seed = source["seed"]
    weighting["replay_of"] = hash8(source) if seed == config["seed"] else f"{hash8(source)}-s{seed}"
    config["names"]["weighting"] = f"replay_{source['names']['weighting']}"
    return run


def _read(run: RunDir, key: str) -> dict[str, Any]:
    try:
        source: dict[str, Any] = yaml.safe_load((run.path / "config.yaml").read_text())
        source["names"]["weighting"], source["seed"], source["tasks"]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise ValueError(
            f"{key}: expected the folder of a run, runs/STUDY/RUN, with its config.yaml, or the name of a weighting."
        ) from error
    return source


def _sibling(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The config of the run with the weighting `name`, as that run itself settles it."""
    source = copy.deepcopy(config)
    source["weighting"] = yaml.safe_load((CONF / "weighting" / f"{name}.yaml").read_text())
    *prescale, _ = source["names"]["weighting"].split("+")
    source["names"]["weighting"] = "+".join([*prescale, name])
    settle(source, build_weighting(source, tasks_of(source)))
    source["data"]["fingerprint"] = load_data(source).fingerprint
    return source
