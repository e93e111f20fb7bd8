"""What each weighting costs: time of a step over that of `sum` and over 1 forward and K backward passes; memory, CPU.

Methods take turns, a step each, in an order that is shuffled every round: a disturbed round disturbs all of them. A
step is the forward pass, the weighting's backward and what it does after the step, without the optimizer. Ratios are
medians over the rounds of the ratio inside the round, with a distribution-free 95 % interval. `own` is the CPU time
that a method spends on its weights alone, from losses or from a Gramian (milliseconds, median of 200); `memory` is the
peak of a process that does three steps of this method over that of one that does three of `sum` (MiB).

    python benchmarks/weighting_cost.py                               # resnet18, 32 px, batch 64, K = 3
    python benchmarks/weighting_cost.py --size 64 --rounds 15
    python benchmarks/weighting_cost.py --features representation
    python benchmarks/weighting_cost.py --tasks 40 --batch 16 --only sum mgda cagrad nash_mtl
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
from torch import nn

from mtl.config import bind, compose
from mtl.data.batch import Batch
from mtl.methods import catalogue
from mtl.model import HydraNet, build_model
from mtl.tasks import Task, losses
from mtl.train import Steps
from mtl.weighting.base import Weighting
from mtl.weighting.control import Control

CPU = torch.device("cpu")
FLOOR = "1 forward + K backwards"


def make_tasks(number: int) -> list[Task]:
    """Regression tasks on targets between 0 and 1."""
    return [Task(f"t{k}", "regression", "gaussian", 1, losses.mse, low=0, high=1) for k in range(number)]


def bench(options: argparse.Namespace) -> tuple[HydraNet, list[Task], Batch]:
    """The network with a linear head per task, and a batch of noise."""
    tasks = make_tasks(options.tasks)
    backbone = compose([f"backbone={options.backbone}"])["backbone"]
    model = build_model(tasks, bind(backbone), nn.Linear, 0).train()
    torch.manual_seed(0)
    images = torch.randn(options.batch, 3, options.size, options.size)
    targets = torch.rand(options.batch, len(tasks))
    everything = torch.ones(options.batch, len(tasks), dtype=torch.bool)
    return model, tasks, Batch(images, targets, everything, [True] * len(tasks), torch.arange(options.batch))


def stepper(name: str, options: argparse.Namespace, model: HydraNet, tasks: Sequence[Task], batch: Batch) -> Callable:
    """A function that does one step of the method `name`."""
    steps = Steps(model, tasks, CPU)

    def plain() -> None:
        model.zero_grad(set_to_none=True)
        step, _ = steps.make(batch)
        for k, loss in enumerate(step.losses):
            loss.backward(retain_graph=k < len(tasks) - 1)  # type: ignore[no-untyped-call]

    if name == FLOOR:
        return plain
    method = build(name, tasks, options.features)

    def weighted() -> None:
        model.zero_grad(set_to_none=True)
        method.zero_grad()
        step, _ = steps.make(batch, further=repeat(batch))
        method.backward(step)
        method.after_step(step)

    for _ in range(2):  # what it remembers of first steps
        weighted()
        method.end_epoch(
            torch.linspace(0.5, 1, len(tasks), dtype=torch.float64), {t.name: {"mae_years": 9.0} for t in tasks}
        )
    return weighted


def build(name: str, tasks: Sequence[Task], features: str = "parameters") -> Weighting:
    """The weighting `name` as its YAML has it."""
    method: Weighting = bind(compose([f"weighting={name}"])["weighting"]["method"])(tasks)
    method.compose(Control(features=features), None)  # type: ignore[arg-type]
    return method


def own_cpu(name: str, num_tasks: int) -> float | None:
    """Milliseconds of CPU time for the weights, median of 200 calls; None for a method that needs the Jacobian.

    Gradients whose lengths differ a hundredfold, and which conflict.
    """
    method, found = build(name, make_tasks(num_tasks)), []
    if method.kind == "direction":
        return None
    for _ in range(200):
        method.losses = torch.rand(num_tasks) + 0.5
        rows = torch.randn(num_tasks, num_tasks + 4) * torch.logspace(0, 2, num_tasks)[:, None]
        values = rows @ rows.T if method.kind == "weights" else method.losses
        began = time.process_time()
        method.weights(values) if method.kind == "weights" else method.loss_weights(values)
        found.append(1000 * (time.process_time() - began))
    return statistics.median(found)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Of the median: the order statistics n/2 -/+ 0.98 sqrt(n)."""
    ordered, half = sorted(values), 0.98 * len(values) ** 0.5
    return ordered[max(0, int(len(values) / 2 - half))], ordered[min(len(values) - 1, int(len(values) / 2 + half))]


def peak(name: str, options: argparse.Namespace) -> float:
    """MiB of a process that does three steps."""
    words = [
        f"--{key}={getattr(options, key)}" for key in ("tasks", "batch", "size", "backbone", "features", "threads")
    ]
    command = [sys.executable, __file__, *words, "--peak-of", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print a row per method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--features", default="parameters")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, tasks, batch = bench(options)
    if options.peak_of:
        step = stepper(options.peak_of, options, model, tasks, batch)
        step()
        lines = Path("/proc/self/status").read_text().splitlines()
        print(next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")))
        return
    names = [FLOOR, *dict.fromkeys(["sum", *(options.only or [method.name for method in catalogue()])])]
    steps = {name: stepper(name, options, model, tasks, batch) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    order = random.Random(0)
    for number in range(options.rounds + 1):
        for name in order.sample(names, len(names)):
            began = time.perf_counter()
            steps[name]()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - began)
    print(
        f"torch {torch.__version__}, {options.threads} threads, {options.backbone}, {options.size} px, batch", end=" "
    )
    print(f"{options.batch}, K = {options.tasks}, gradients of the {options.features}, {options.rounds} rounds")
    ratio = f"{'95 %':>16}"
    print(f"{'weighting':24} {'ms':>7} {'over sum':>9}{ratio} {'over 1F+KB':>10}{ratio} {'own ms':>7} {'MiB':>6}")
    base = peak("sum", options) if options.memory else 0.0
    for name in sorted(names, key=lambda name: statistics.median(seconds[name])):
        cells = [f"{name:24} {1000 * statistics.median(seconds[name]):7.1f}"]
        for reference in ("sum", FLOOR):
            ratios = [a / b for a, b in zip(seconds[name], seconds[reference], strict=True)]
            low, high = interval(ratios)
            cells.append(f"{statistics.median(ratios):9.3f} [{low:.3f}, {high:.3f}]")
        spent = None if name == FLOOR else own_cpu(name, options.tasks)
        own = " " * 7 if spent is None else f"{spent:7.2f}"
        memory = f"{peak(name, options) - base:6.0f}" if options.memory and name != FLOOR else ""
        print(*cells, own, memory, flush=True)


if __name__ == "__main__":
    main()
