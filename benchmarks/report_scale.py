"""How long `collect` takes to read run directories, histories too, against their number: a table and a picture.

The run directories are made, not trained: real configs, and histories, metrics and costs of the size that a run of
three tasks leaves. `python benchmarks/report_scale.py --picture docs/report_scale.png`
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mtl.config import compose
from mtl.identity import run_name
from mtl.report.collect import collect
from mtl.rundir import RunDir

WEIGHTINGS = ("sum", "uncertainty", "dwa", "rlw", "pcgrad")


def make(folder: Path, runs: int, epochs: int) -> None:
    """Write `runs` finished runs of `epochs` epochs."""
    draw = np.random.default_rng(0)
    configs = [compose([f"weighting={name}", "logger=none"]) for name in WEIGHTINGS]
    for i in range(runs):
        config = copy.deepcopy(configs[i % len(configs)])
        config["seed"], config["data"]["fingerprint"] = i // len(configs), "ab" * 32
        run = RunDir(folder / run_name(config))
        run.begin()
        run.write_config(config)
        run.keep("history.jsonl", [{"epoch": epoch} | _row(draw) for epoch in range(epochs)])
        metrics = {
            "age": {"mae_years": float(draw.normal(9, 0.3)), "rmse_log": float(draw.uniform(0.08, 0.1))},
            "sick": dict.fromkeys(("accuracy", "balanced_accuracy", "f1_macro"), float(draw.normal(0.9, 0.01))),
            "species": dict.fromkeys(("accuracy", "balanced_accuracy", "f1_macro"), float(draw.normal(0.7, 0.01))),
        }
        trivial = {task: {key: 15.0 if key == "mae_years" else 0.4 for key in of} for task, of in metrics.items()}
        scored = metrics | {"score": 0.5}
        run.write_json("metrics.json", {"selected_epoch": 4, "val": scored, "test": scored, "trivial": trivial})
        run.write_json("cost.json", dict.fromkeys(("total_s", "train_s", "step_ms", "images_per_s", "peak_mib"), 60.0))
        run.end("done")


def _row(draw: np.random.Generator) -> dict[str, Any]:
    """As many numbers as an epoch of three tasks has."""
    keys = [f"{part}/{task}/{i}" for part in ("train", "val", "weight") for task in "abc" for i in range(6)]
    return dict(zip([*keys, "val/score"], draw.normal(size=len(keys) + 1).tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 30, 100, 300, 1000])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    print("| runs | frame (s) | frame and histories (s) |\n|---:|---:|---:|")
    medians: list[tuple[int, float, float]] = []
    for runs in options.runs:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), runs, options.epochs)
            collect(folder)  # imports, and files into the system's memory
            seconds = []
            for _ in range(options.rounds):
                start = time.perf_counter()
                study = collect(folder)
                assert len(study.tidy) > runs
                frame = time.perf_counter() - start
                assert len(study.epochs) == runs * options.epochs
                seconds.append((frame, time.perf_counter() - start))
        one, both = ([each[i] for each in seconds] for i in (0, 1))
        medians.append((runs, statistics.median(one), statistics.median(both)))
        print(f"| {runs} | {medians[-1][1]:.2f} [{min(one):.2f}, {max(one):.2f}] |", end="")
        print(f" {medians[-1][2]:.2f} [{min(both):.2f}, {max(both):.2f}] |", flush=True)
    if options.picture:
        _draw(medians, options.picture)


def _draw(medians: list[tuple[int, float, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 3), layout="constrained")
    axes = figure.subplots()
    runs, one, both = zip(*medians, strict=True)
    axes.loglog(runs, both, "s-", color="#D55E00", label="frame and histories")
    axes.loglog(runs, one, "o-", color="#0072B2", label="frame")
    axes.set(xlabel="run directories of 50 epochs", ylabel="seconds (median)")
    axes.axhline(5, color="0.6", linestyle=":")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
