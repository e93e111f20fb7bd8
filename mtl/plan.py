"""What a command will train: the runs that its jobs are, which of them are there already, and what the rest will cost.

A plan is kept in the study's folder, so that `python -m mtl.study` can say later which runs are missing and how to get
them.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from mtl.build import build_parts, build_weighting, load_data, settle, tasks_of
from mtl.environment import git_state
from mtl.identity import run_name
from mtl.loggers import preload
from mtl.replay import call_after_source
from mtl.rundir import RunDir
from mtl.study import PLANS


@dataclass(frozen=True)
class Job:
    """A job of a command: its overrides, its resolved config, and the run that it is.

    Attributes:
        run: None if the job cannot be built; then `mistake` says why.
    """

    overrides: list[str]
    config: dict[str, Any]
    run: RunDir | None
    mistake: str = ""


def plan(jobs: Sequence[tuple[Sequence[str], Mapping[str, Any]]]) -> list[Job]:
    """The runs of `jobs`, each its overrides and its resolved config; the pictures are packed if they are not yet.

    A run that two jobs name is there once.

    Raises:
        ValueError: pictures that cannot be used.
    """
    if jobs:
        _import_all(jobs[0][1])
    fingerprints: dict[str, str] = {}
    found: dict[str, Job] = {}
    for overrides, resolved in jobs:
        config = copy.deepcopy(dict(resolved))
        pictures = json.dumps([config["data"], config["names"]["data"]], sort_keys=True)
        if pictures not in fingerprints:
            fingerprints[pictures] = load_data(config).fingerprint
        try:
            call_after_source(config)
            settle(config, build_weighting(config, tasks_of(config)))
        except ValueError as error:
            found[" ".join(overrides)] = Job(list(overrides), config, None, str(error))
            continue
        config["data"]["fingerprint"] = fingerprints[pictures]
        run = RunDir(Path(config["runs_dir"]) / config["study"] / run_name(config))
        found.setdefault(str(run.path), Job(list(overrides), config, run))
    return list(found.values())


def _import_all(config: Mapping[str, Any]) -> None:
    """Build the parts of a run, for what that imports: seconds of it, once, where each forked job would take them."""
    torch.set_num_threads(1)  # a pool of threads does not survive a fork; each run sets its own number
    with suppress(ValueError):  # its own job will say so
        build_parts({**config, "train": config["train"] | {"device": "cpu"}})
    preload(config["logger"]["wandb"]["mode"])


def keep(jobs: Sequence[Job]) -> None:
    """Write down in the folder of each study what this command trains there."""
    program, *words = sys.argv
    command = shlex.join(["python", Path(program).name, *words])  # where the code lies is nobody's business
    name = hashlib.sha256(command.encode()).hexdigest()[:8]
    for folder in dict.fromkeys(job.run.path.parent for job in jobs if job.run):
        runs = {job.run.path.name: job.overrides for job in jobs if job.run and job.run.path.parent == folder}
        folder.mkdir(parents=True, exist_ok=True)
        RunDir(folder).write_json(PLANS.replace("*", name), {"command": command, "runs": runs})


def summary(jobs: Sequence[Job]) -> list[str]:
    """Sentences: how many runs there are in which state, and what has changed since they were trained."""
    runs = [job.run for job in jobs if job.run]
    states = Counter(run.state()[0] if run.path.exists() else "to train" for run in runs)
    broken = len(jobs) - len(runs)
    parts = [f"{number} {state}" for state, number in states.items()]
    parts += [f"{broken} cannot be built"] if broken else []
    folders = dict.fromkeys(str(run.path.parent) for run in runs)
    head = f"{', '.join(folders) or 'no study'}: {len(jobs)} run{'s' * (len(jobs) > 1)}: {', '.join(parts)}"
    return [head, *_changes(jobs)]


def _changes(jobs: Sequence[Job]) -> list[str]:
    """What is there of other code or of other pictures: it is kept, and said."""
    sentences = []
    now = git_state()
    begun = [job.run for job in jobs if job.run and (job.run.path / "env.json").exists()]
    code = [(run.read("env.json") or {}).get("git") for run in begun]
    others = Counter(_commit(state) for state in code if state and now and state != now)
    if others and now:
        commits = ", ".join(f"{number} of {commit}" for commit, number in others.items())
        sentences.append(
            f"the code has changed: {commits}, this is {_commit(now)}; what is done is kept, what is interrupted goes "
            "on with this code; study=NAME trains all of them anew"
        )
    for folder in dict.fromkeys(job.run.path.parent for job in jobs if job.run):
        ours = {(job.config["names"]["data"], job.config["data"]["fingerprint"]) for job in jobs if job.run}
        stored = [_pictures(path) for path in folder.glob("*/config.yaml")]
        same_name = Counter(pair for pair in stored if pair and pair[0] in dict(ours) and pair not in ours)
        for (data, fingerprint), number in same_name.items():
            new = ", ".join(sorted(print_[:8] for name, print_ in ours if name == data))
            sentences.append(
                f"{folder} has {number} run{'s' * (number > 1)} on other pictures of data={data} ({fingerprint[:8]}, "
                f"now {new}): files were added, removed or changed, or data.root is another; they stay their own rows"
            )
    return sentences


def _commit(state: Mapping[str, Any]) -> str:
    return f"commit {state['commit'][:7]}{' with changes of its own' if state['dirty'] else ''}"


def _pictures(path: Path) -> tuple[str, str] | None:
    try:
        config = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return config["names"]["data"], config["data"]["fingerprint"]
    except (OSError, TypeError, KeyError, yaml.YAMLError):
        return None
