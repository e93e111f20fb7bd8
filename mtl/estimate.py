"""Before the first job of a multirun: what it will train; in `mode=plan` how long that takes, and how much disk."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mtl.build import build_loaders, build_parts, load_data
from mtl.check import check, duration
from mtl.environment import set_threads
from mtl.plan import Job, keep, plan, summary
from mtl.pool import Pool
from mtl.rundir import describe

_RECORDS = 0.2  # MiB: what a run leaves beside its checkpoint
_MIB = 2**20


def begin(jobs: Sequence[tuple[Sequence[str], Mapping[str, Any]]], launcher: Mapping[str, Any]) -> None:
    """Say what a multirun will train, and write it down; in mode=plan say what it will cost instead.

    `launcher`: its options; those of `local` say how many jobs run at a time, of others one is assumed.

    Raises:
        ValueError: pictures that cannot be used.
    """
    found = plan(jobs)
    mode = {job.config["mode"] for job in found}
    if mode == {"check"}:
        return
    print(*summary(found), sep="\n")
    if "plan" in mode:
        pool = Pool(launcher["n_jobs"], launcher["jobs_per_gpu"]) if "jobs_per_gpu" in launcher else None
        estimate(found, len(pool.slots) if pool else 1)
    else:
        keep(found)


def estimate(jobs: Sequence[Job], n_jobs: int) -> None:
    """Train two steps of each of `jobs`, seeds apart, and print minutes and disk; runs that are done cost nothing.

    The hours are those of `n_jobs` at a time, as if they did not slow each other down.
    """
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        if job.run is not None and not job.run.finished():
            groups.setdefault(job.run.path.name.rpartition("-s")[0], []).append(job)
    hours = disk = peak = 0.0
    for name, members in groups.items():
        config = members[0].config
        config["train"]["threads"] = set_threads(config["train"]["threads"])
        try:
            parts = build_parts(config)
            torch.manual_seed(config["seed"])
            each = check(config, parts, build_loaders(config, parts, load_data(config))).hours
        except (ValueError, FloatingPointError) as error:
            print(f"  {name}: fails: {describe(error)}", file=sys.stderr)
            continue
        network = sum(value.nbytes for value in parts.model.state_dict().values()) / _MIB
        kept = {"none": 0.0, "best": network, "last": 4 * network}[config["train"]["keep"]]
        hours += each * len(members)
        disk += (kept + _RECORDS) * len(members)
        peak = max(peak, 8 * network)  # two checkpoints with two moments each, and two best networks
        print(f"  {name}: {len(members)} run{'s' * (len(members) > 1)} of about {duration(each)}", flush=True)
    for job in jobs:
        if job.run is None:
            print(f"  {' '.join(job.overrides)}: {job.mistake}", file=sys.stderr)
    number = sum(len(members) for members in groups.values())
    at_once = f", {n_jobs} at a time" if n_jobs > 1 else ""
    print(
        f"{number} run{'s' * (number != 1)} to train{at_once}: about {duration(hours / n_jobs)}; {disk:,.0f} MiB of "
        f"disk in the end, up to {peak * n_jobs:,.0f} MiB more on the way. Nothing was written."
    )
