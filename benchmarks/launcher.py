"""The launchers on one study: wall-clock, and what a job costs beside its training; are the results the same?

Overhead: jobs at a time x (end of the last run - begin of the first) - the sum of what the runs report as training and
testing (`total_s`), over the number of runs. So it holds composing, building, reading the packed pictures, forking, the
end of a run, and an idle process at the end of the study.

    python benchmarks/launcher.py                     # sweep=small, 14 runs, one thread each
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mtl.rundir import RunDir

RUN = Path(__file__).parents[1] / "run.py"
LAUNCHERS = {
    "basic (in process)": ["hydra/launcher=basic"],
    "local, 1 job": ["hydra.launcher.n_jobs=1"],
    "local, 2 jobs": ["hydra.launcher.n_jobs=2"],
}
COMPARED = ("history.jsonl", "metrics.json", "predictions.csv", "best.pt")


def main() -> None:
    """Run the study with each launcher and print a row for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", default=["backbone=mobilenet", "train.epochs=2", "logger=none"])
    overrides = ["sweep=small", "train.threads=1", *parser.parse_args().overrides]
    print(f"python run.py {' '.join(overrides)}")
    print(f"{'launcher':20} {'runs':>5} {'wall s':>7} {'training s':>11} {'overhead s/job':>15}  results")
    first: dict[str, bytes] | None = None
    with tempfile.TemporaryDirectory() as place:
        for number, (name, words) in enumerate(LAUNCHERS.items()):
            study = f"study{number}"
            command = [sys.executable, str(RUN), *overrides, f"runs_dir={place}", f"study={study}", *words]
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_WAIT_POLICY": "passive"})
            wall = time.perf_counter() - began
            runs = [RunDir(path.parent) for path in Path(place, study).glob("*/metrics.json")]
            span = max(mtime(run, "status.json") for run in runs) - min(mtime(run, "config.yaml") for run in runs)
            training = sum(run.read("cost.json")["total_s"] for run in runs)
            overhead = ((2 if "2" in name else 1) * span - training) / len(runs)
            found = {f"{run.path.name}/{file}": (run.path / file).read_bytes() for run in runs for file in COMPARED}
            first = first or found
            same = "the same" if found == first else "NOT the same"
            print(f"{name:20} {len(runs):5} {wall:7.1f} {training:11.1f} {overhead:15.2f}  {same}", flush=True)


def mtime(run: RunDir, name: str) -> float:
    return (run.path / name).stat().st_mtime


if __name__ == "__main__":
    main()
