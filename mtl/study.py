"""`python -m mtl.study runs/<study>`: what is done, running, interrupted, failed, missing, and how to complete it.

Reads files only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtl.rundir import RunDir

PLANS = ".plan-*.json"  # one for each command
STATES = ("done", "running", "interrupted", "failed", "unreadable", "missing")


@dataclass(frozen=True)
class Listed:
    """A run of a study: its name, one of `STATES`, and what to know about it."""

    name: str
    state: str
    words: str


def survey(folder: Path) -> list[Listed]:
    """All runs that are in `folder` or that a command meant to train there.

    Raises:
        ValueError: `folder` is no study.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder; give the folder of a study, such as runs/default.")
    planned = {run for _, runs in plans(folder) for run in runs}
    there = {path.parent.name for name in ("status.json", "config.yaml") for path in folder.glob(f"*/{name}")}
    if not planned and not there:
        raise ValueError(f"{folder}: holds no run; give the folder of a study, such as runs/default.")
    found = [
        Listed(name, *RunDir(folder / name).state()) if name in there else Listed(name, "missing", "never begun")
        for name in sorted(planned | there)
    ]
    return sorted(found, key=lambda run: STATES.index(run.state))


def plans(folder: Path) -> list[tuple[str, list[str]]]:
    """(command, names of the runs that it trains) of the commands that were given for this study, newest first."""
    files = sorted(folder.glob(PLANS), key=lambda path: path.stat().st_mtime, reverse=True)
    found = []
    for path in files:
        content = RunDir(path.parent).read(path.name)
        if isinstance(content, dict) and content.keys() >= {"command", "runs"}:
            found.append((str(content["command"]), list(content["runs"])))
    return found


def completing(folder: Path, missing: set[str]) -> tuple[list[str], set[str]]:
    """Commands that together train the runs `missing`, few of them, and the runs that no known command trains."""
    commands = []
    rest = set(missing)
    for command, runs in sorted(plans(folder), key=lambda plan: -len(missing & set(plan[1]))):
        if rest & set(runs):
            commands.append(command)
            rest -= set(runs)
    return commands, rest


def show(folder: Path) -> bool:
    """Print the state of the study; whether it is complete."""
    found = survey(folder)
    by_state = {state: [run for run in found if run.state == state] for state in STATES}
    counts = ", ".join(f"{len(runs)} {state}" for state, runs in by_state.items() if runs)
    print(f"{folder}: {len(found)} run{'s' * (len(found) > 1)}: {counts}")
    for state, runs in by_state.items():
        for run in runs if state != "done" else ():
            print(f"  {state:12}{run.name}  {run.words}")
    open_ = {run.name for run in found if run.state not in ("done", "running")}
    commands, unknown = completing(folder, open_)
    if commands:
        print("To complete it:", *commands, sep="\n  ")
    if unknown:
        print("No recorded command trains these; give the one that began them once more:", *sorted(unknown), sep="\n  ")
    return len(by_state["done"]) == len(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all runs are done; 1: some are not; 2: a mistake, named in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m mtl.study", description="What is done in a study.")
    parser.add_argument("study", help="folder of the study, such as runs/default")
    parser.add_argument("--json", action="store_true", help="one JSON object per run")
    options = parser.parse_args(arguments)
    try:
        if options.json:
            found = survey(Path(options.study))
            print(*(json.dumps(run.__dict__) for run in found), sep="\n")
            return 0 if all(run.state == "done" for run in found) else 1
        return 0 if show(Path(options.study)) else 1
    except ValueError as error:
        print(f"mtl.study: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
