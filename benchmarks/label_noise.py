"""Does the sigma that uncertainty weighting learns measure label noise? Runs sweep=label_noise and checks its runs.

Noise is planted in every task at a first level, and in each in turn at a second and third, drawn anew at every visit.
Three claims, each checked:

- the noisy task's sigma rises strictly with the noise;
- the other tasks' sigmas stay within 10 % of what they are when all have their first level;
- the regression's sigma is within 10 % of its residual, and of the noise.

Sigma is that of the last epoch, from the effective weights: 1 / (2 sigma^2) for a squared error, 1 / sigma^2 for cross
entropy; `smallest` is that of a network which predicts all but the noise. The residual is the root of the mean squared
error on the noisy training labels. Finished runs are kept, so the same command again goes on where it was stopped. Exit
code 1 if a claim fails.

    python benchmarks/label_noise.py
    python benchmarks/label_noise.py train.threads=1 runs_dir=PATH seed=1 study=label_noise-1
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from mtl.config import compose
from mtl.rundir import RunDir

ROOT = Path(__file__).parents[1]
NEAR = 0.1  # what counts as equal, relative


@dataclass(frozen=True)
class Run:
    """One finished run: noise, sigma and the smallest possible sigma per task; the regression's residual."""

    noise: dict[str, float]
    sigma: dict[str, float]
    floor: dict[str, float]
    residual: float


def read(path: Path) -> Run:
    """The run in `path`, at its last epoch."""
    config = yaml.safe_load((path / "config.yaml").read_text())
    last: dict[str, Any] = RunDir(path).rows("history.jsonl")[-1]
    tasks = {task: config["data"]["tasks"][task] for task in config["tasks"]}
    factors = {task: 0.5 if spec["kind"] == "regression" else 1.0 for task, spec in tasks.items()}
    sigma = {task: (factor / last[f"weight/{task}"]) ** 0.5 for task, factor in factors.items()}
    noise = config["data"]["noise"]
    floor = {task: best(noise[task], len(spec.get("classes", []))) for task, spec in tasks.items()}
    return Run(noise, sigma, floor, last[f"train/loss/{config['tasks'][0]}"] ** 0.5)


def best(level: float, classes: int) -> float:
    """Sigma of a network that predicts all but the noise: the noise, or sqrt(2 H), H a noisy label's entropy."""
    if not classes or not level:
        return level
    return math.sqrt(-2 * ((1 - level) * math.log(1 - level) + level * math.log(level / (classes - 1))))


def apart(value: float, wanted: float) -> float:
    """The relative distance of `value` from `wanted`."""
    return abs(value / wanted - 1)


def table(levels: dict[str, list[Run]]) -> str:
    """The runs as Markdown, by the task whose noise rises; the first one stands once for each task."""
    sigmas = " | ".join(f"sigma {task}" for task in levels)
    lines = [f"| noise in | level | smallest | {sigmas} | residual {next(iter(levels))} (years) |"]
    lines.append("|---|" + "---:|" * (len(levels) + 3))
    for task, runs in levels.items():
        for run in runs:
            sigmas = " | ".join(f"{run.sigma[name]:.3f}" for name in levels)
            lines.append(f"| {task} | {run.noise[task]:g} | {run.floor[task]:.3f} | {sigmas} | {run.residual:.2f} |")
    return "\n".join(lines)


def claims(levels: dict[str, list[Run]], regression: str) -> Iterator[tuple[str, bool]]:
    """Each claim with its number, and whether it holds; `levels` has the runs of each task by its rising noise."""
    for task, (first, *noisier) in levels.items():
        sigmas = [run.sigma[task] for run in (first, *noisier)]
        rising = " < ".join(f"{sigma:.3f}" for sigma in sigmas)
        yield f"sigma of {task} rises: {rising}", all(low < high for low, high in pairwise(sigmas))
        for other in levels:
            if other != task:
                moves = max(apart(run.sigma[other], first.sigma[other]) for run in noisier)
                yield f"noise in {task} moves sigma of {other} by at most {moves:.1%}", moves <= NEAR
    for run in levels[regression]:
        sigma, level = run.sigma[regression], run.noise[regression]
        for name, wanted in (("its residual", run.residual), ("the noise", level)):
            distance = apart(sigma, wanted)
            yield f"sigma of {regression} at {level:g} is {distance:.1%} from {name}", distance <= NEAR


def main() -> int:
    """Train what is missing, print the table and the claims; 1 if one of them fails."""
    overrides = ["sweep=label_noise", *sys.argv[1:]]
    config = compose(overrides)
    if code := subprocess.run([sys.executable, str(ROOT / "run.py"), *overrides], check=False).returncode:
        return code
    study = Path(config["runs_dir"]) / config["study"]
    runs = [read(path.parent) for path in study.glob("*/metrics.json")]
    tasks: list[str] = config["tasks"]
    if len({str(run.noise) for run in runs}) < len(runs):
        raise SystemExit(
            f"{study} holds several runs with the same noise; give this one a folder of its own: study=NAME."
        )
    least = {task: min(run.noise[task] for run in runs) for task in tasks}
    levels = {
        task: sorted(
            (run for run in runs if all(run.noise[other] == least[other] for other in tasks if other != task)),
            key=lambda run: run.noise[task],
        )
        for task in tasks
    }
    print(f"\n{table(levels)}\n")
    checked = list(claims(levels, tasks[0]))
    for text, holds in checked:
        print(f"{'holds' if holds else 'FAILS'}: {text}")
    return 0 if all(holds for _, holds in checked) else 1


if __name__ == "__main__":
    sys.exit(main())
