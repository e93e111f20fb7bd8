"""The same search for every weighting: `python -m mtl.tune weighting=sum,dwa --trials 20`; then `--confirm` the best.

Each weighting gets the same number of trials; the first is its config as it is, the others are Optuna's (TPE). The
criterion is val/score: nothing here reads a test result before the winners are confirmed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mtl.config import CONF, compose
from mtl.ledger import LEDGER, WINNERS, table, write
from mtl.search import JOURNAL, Search, Trial, open_journal
from mtl.sentences import sentences
from mtl.space import space

if TYPE_CHECKING:
    from mtl.pool import Ended, Job, Pool


def tune(overrides: Sequence[str], trials: int, pool: Pool) -> bool:
    """Complete `trials` trials of every weighting that `overrides` name; False if one of them has no end.

    Raises:
        ValueError: a mistake of the user's, in one sentence, before any trial.
    """
    if trials < 1:
        raise ValueError(f"--trials {trials}: expected at least 1, the config as it is.")
    lines = list(_lines(overrides))
    configs = [_compose(line) for line in lines]
    spaces = [_checked(config) for config in configs]
    folder = Path(configs[0]["runs_dir"]) / configs[0]["study"]
    folder.mkdir(parents=True, exist_ok=True)
    storage = open_journal(folder)
    searches = [
        Search.open(folder, storage, _without(line, "study", "runs_dir"), config, ranges)
        for line, config, ranges in zip(lines, configs, spaces, strict=True)
    ]
    begun: dict[str, tuple[Search, Trial]] = {}
    elsewhere: list[tuple[Search, Trial]] = []

    def job(search: Search, trial: Trial) -> Job:
        title = f"{search.name} {trial.number + 1}/{trials}"
        begun[title] = search, trial
        # A checkpoint of each trial would fill the disk, and the winners are trained again.
        return _job(title, folder, ["train.keep=none", *trial.shared, *trial.own], pool, show_test=False)

    def jobs() -> Iterator[Job]:
        for search in searches:
            yield from (job(search, trial) for trial in search.left())
        asked = True
        while asked:  # in turn, so that a search that is stopped has spent as much on each
            asked = False
            for search in searches:
                if trial := search.ask(trials):
                    asked = True
                    yield job(search, trial)

    def ended(job: Job, result: Ended) -> None:
        search, trial = begun[job.title]
        if not search.tell(trial, result.value, result.reason):
            elsewhere.append((search, trial))
        write(folder, storage)

    write(folder, storage)
    missing = sum(max(trials - len(search.trials()), 0) + len(search.left()) for search in searches)
    pool.run(jobs(), ended, missing)
    if elsewhere:  # by now their processes have finished, saved or died; if not, they will finish them
        pool.run([job(*one) for one in elsewhere], ended, len(elsewhere))
    print(f"\n{table(folder, storage)}\n\nWritten: {folder}/{LEDGER}, {WINNERS}")
    return not any(search.left() for search in searches)


def _lines(overrides: Sequence[str]) -> Iterator[list[str]]:
    """The overrides of each weighting's trials, its name last: of the command line, and of the blocks of a sweep."""
    given = dict(word.split("=", 1) for word in overrides if "=" in word)
    for word in overrides:
        if "=" not in word and not word.startswith("~"):
            raise ValueError(f"{word}: expected KEY=VALUE, or a study's folder with --confirm.")
    path = CONF / "sweep" / f"{given.get('sweep')}.yaml"
    sweep = yaml.safe_load(path.read_text()) if path.is_file() else {}
    blocks = sweep.get("hydra", {}).get("sweeper", {}).get("blocks") or [[]]
    seen = set()
    for block in blocks:
        line = [*(word for word in block if word.split("=", 1)[0] not in given), *overrides]
        names = [word.split("=", 1)[1] for word in line if word.startswith("weighting=")]
        if not names and "sweep" not in given:
            raise ValueError("weighting is missing: name those to be tuned, as in weighting=sum,uncertainty,dwa.")
        for name in (names or ["sum"])[-1].split(","):
            if name not in seen:
                seen.add(name)
                yield [*_without(line, "weighting"), f"weighting={name.strip()}"]


def _without(line: Sequence[str], *keys: str) -> list[str]:
    return [word for word in line if word.lstrip("+").split("=", 1)[0] not in keys]


def _compose(line: Sequence[str]) -> dict[str, Any]:
    own = [] if any(word.startswith(("sweep=", "study=")) for word in line) else ["study=tune"]
    try:
        config = compose([*own, *line])
    except ValueError as error:
        if "has several values" in str(error):
            key = str(error).partition("=")[0]
            raise ValueError(f"{key} has several values: a search varies the weighting, and has one {key}.") from error
        raise
    if config["mode"] != "train":
        raise ValueError(f"mode={config['mode']}: a search trains; leave mode out.")
    if any((config.get(node) or {}).get("from_run") for node in ("weighting", "prescale")):
        raise ValueError("weighting.from_run: a replay has the weights of its run, none to search; leave it out.")
    if config["max_hours"] is not None:
        raise ValueError(
            f"max_hours={config['max_hours']}: write --max-hours {config['max_hours']} for a whole search."
        )
    return config


def _checked(config: dict[str, Any]) -> Mapping[str, Any]:
    """The search space of a config that can be trained; what cannot fails here and not in every trial."""
    import torch

    from mtl.build import build_parts, load_data
    from mtl.loggers import preload

    preload(config["logger"]["wandb"]["mode"])
    # This process will be forked, which neither a pool of threads nor CUDA survives.
    torch.set_num_threads(1)
    weighting = build_parts(config | {"train": config["train"] | {"device": "cpu"}}).weighting
    found = space(config, learnt=any(True for _ in weighting.parameters()))
    config["data"]["fingerprint"] = load_data(config).fingerprint
    return found


def _job(title: str, folder: Path, overrides: list[str], pool: Pool, show_test: bool) -> Job:
    from mtl.pool import Job

    def work() -> float:
        from mtl.experiment import run

        config = compose(overrides)
        config["runs_dir"], config["study"] = str(folder.parent), folder.name
        config["train"]["threads"] = config["train"]["threads"] or pool.threads
        return run(config, overrides, multirun=True, show_test=show_test)

    return Job(title, work)


def confirm(folder: Path, seeds: Sequence[int], pool: Pool) -> bool:
    """Train every winner of the search in `folder` on `seeds`, as the study <folder>-confirmed, and report it.

    Raises:
        ValueError: no search or no finished trial there, or a seed that has chosen the winners.
    """
    from mtl.report import report

    if not (folder / JOURNAL).is_file():
        raise ValueError(f"{folder}: there is no search here; give the folder of one, such as runs/tune.")
    winners = yaml.safe_load((folder / WINNERS).read_text()) if (folder / WINNERS).is_file() else None
    if not winners:
        raise ValueError(f"{folder}: no trial is done yet, so there is nothing to confirm; finish the search first.")
    for name, winner in winners.items():
        if winner["seed"] in seeds:
            raise ValueError(f"--confirm: seed {winner['seed']} has chosen what {name} has; give fresh seeds only.")
    if len(budgets := {winner["trials"] for winner in winners.values()}) > 1:
        print(f"The winners come from unequal numbers of trials: {', '.join(map(str, sorted(budgets)))}.")
    confirmed = folder.with_name(f"{folder.name}-confirmed")
    failed: list[str] = []

    def jobs() -> Iterator[Job]:
        for seed in seeds:
            for name, winner in winners.items():
                yield _job(
                    f"{name} seed {seed}", confirmed, [*winner["overrides"], f"seed={seed}"], pool, show_test=True
                )

    def ended(job: Job, result: Ended) -> None:
        if result.value is None or result.value == float("-inf"):
            failed.append(f"{job.title} failed{': ' if result.reason else ''}{result.reason}")

    pool.run(jobs(), ended, len(seeds) * len(winners))
    report([confirmed], figures=False)
    print(*failed, sep="\n", end="\n" if failed else "", file=sys.stderr)
    return not failed


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all is done; 1: a trial or a run is not; 2: a mistake, named in one sentence; 130: interrupted."""
    parser = argparse.ArgumentParser(prog="python -m mtl.tune", description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", help="of run.py, with several weightings or a sweep; or runs/STUDY")
    parser.add_argument("--trials", type=int, default=20, help="of each weighting, in all (default: 20)")
    parser.add_argument("--confirm", metavar="SEEDS", help="train the winners of runs/STUDY on these seeds: 1,2,3,4,5")
    parser.add_argument("--jobs", type=int, help="trials at a time")
    parser.add_argument("--jobs-per-gpu", type=int, default=1, help="trials at a time on each GPU (default: 1)")
    parser.add_argument("--max-hours", type=float, help="stop in good time, with all saved")
    options = parser.parse_intermixed_args(arguments)
    # Before torch is imported, as in run.py: idle OpenMP threads that spin starve other processes.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    with sentences():
        from mtl.pool import Pool

        pool = Pool(options.jobs, options.jobs_per_gpu, max_hours=options.max_hours)
        if options.confirm is None:
            return 0 if tune(options.overrides, options.trials, pool) else 1
        if len(options.overrides) != 1 or "=" in options.overrides[0]:
            raise ValueError("--confirm: expected one folder of a search before it, such as runs/tune.")
        seeds = options.confirm.removeprefix("seeds=").split(",")
        if not all(seed.isdecimal() for seed in seeds):
            raise ValueError(f"--confirm {options.confirm}: expected seeds, as in 1,2,3,4,5.")
        return 0 if confirm(Path(options.overrides[0]), [int(seed) for seed in seeds], pool) else 1


if __name__ == "__main__":
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as under nohup
            signal.signal(ending, signal.default_int_handler)
    sys.exit(main())
