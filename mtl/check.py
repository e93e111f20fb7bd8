"""`mode=check`: does this command work, and how long will it take? Everything but the run itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mtl.build import Loaders, Parts, build_optimization
from mtl.evaluate import evaluate
from mtl.sums import EpochSums
from mtl.train import fit

STEPS = 2


@dataclass(frozen=True)
class Checked:
    """What a check has seen, in words, and the hours that the run would take."""

    words: str
    hours: float


class _Enough(Exception):
    pass


def check(config: Mapping[str, Any], parts: Parts, loaders: Loaders) -> Checked:
    """Train two steps and evaluate the validation part, and write nothing.

    Raises:
        FloatingPointError: a loss or a gradient is not finite.
        ValueError: what a run would refuse too.
    """
    train, num_steps = config["train"], len(loaders.train)
    optimizer, schedule = build_optimization(config, parts, num_steps * train["epochs"])
    done: list[EpochSums] = []
    moments = [time.perf_counter()]

    def on_step(epoch: int, sums: EpochSums) -> None:
        moments.append(time.perf_counter())
        if sums.steps == min(STEPS, num_steps):
            sums.check(epoch)
            done.append(sums)
            raise _Enough

    with suppress(_Enough):
        fit(
            parts.model,
            parts.tasks,
            parts.weighting,
            loaders.train,
            optimizer,
            schedule,
            epochs=range(1),
            device=parts.device,
            amp=train["amp"],
            clip=train["clip"],
            on_step=on_step,
        )
    step = moments[-1] - moments[-2]  # the first step is slower, it allocates
    began = time.perf_counter()
    evaluate(parts.model, parts.tasks, loaders.val, parts.device, train["amp"])
    hours = train["epochs"] * (num_steps * step + time.perf_counter() - began) / 3600
    row = done[0].compute(0)[2]
    losses = ", ".join(f"{task.name} {row[f'train/loss/{task.name}'] or 0:.3g}" for task in parts.tasks)
    words = (
        f"{done[0].steps} steps of {loaders.train.batch_size} pictures at {1000 * step:.0f} ms, losses {losses}; "
        f"{train['epochs']} epochs of {num_steps} steps would take about {duration(hours)}"
    )
    return Checked(words, hours)


def duration(hours: float) -> str:
    """In hours, or in minutes if it is less than one."""
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
