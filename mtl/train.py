"""The training loop. It knows no method: a weighting fills the gradients and says which weights it used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import torch
from torch import Tensor
from torch.optim import Optimizer

from mtl.data.batch import Batch
from mtl.data.loader import Loader
from mtl.model import HydraNet, statistics_kept
from mtl.optim import Schedule, clip_, gradient_norms
from mtl.sums import CHECK_EVERY, EpochSums
from mtl.tasks import Task
from mtl.weighting.base import Step, Weighting


@dataclass(frozen=True)
class TrainedEpoch:
    """What an epoch of training left: the training part of its history row and its time."""

    epoch: int
    row: dict[str, float | None]
    seconds: float
    num_steps: int


def forward(
    model: HydraNet, tasks: Sequence[Task], batch: Batch, device: torch.device, amp: bool
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Features [B, D], K outputs [B, W_k] in float32, and K losses."""
    with torch.autocast(device.type, torch.bfloat16, enabled=amp):
        features, raw = model(batch.images)
    outputs = [output.float() for output in raw]
    pairs = enumerate(zip(tasks, outputs, strict=True))
    return features, outputs, [task.loss(o, batch.targets[:, k], batch.masks[:, k]) for k, (task, o) in pairs]


def losses_again(
    model: HydraNet, tasks: Sequence[Task], batch: Batch, device: torch.device, amp: bool, which: str
) -> list[Tensor]:
    """`Step.forward`: K losses of the same batch with the parameters as they are now.

    Raises:
        ValueError: `which` is another batch.
    """
    if which != "same":
        raise ValueError(f"a step can give the losses of the same batch again, not of '{which}'.")
    with statistics_kept(model):
        return forward(model, tasks, batch, device, amp)[2]


def fit(
    model: HydraNet,
    tasks: Sequence[Task],
    weighting: Weighting,
    loader: Loader,
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    epochs: range,
    device: torch.device,
    amp: bool = False,
    clip: float | None = None,
    begun: EpochSums | None = None,
    on_step: Callable[[int, EpochSums], None] = lambda epoch, sums: None,
    on_epoch: Callable[[TrainedEpoch], None] = lambda done: None,
) -> None:
    """Train over `epochs`; `on_epoch` evaluates, records and saves.

    Sums stay on the device until the epoch ends: no step waits for it but each 50th, which looks for what is not
    finite.

    Args:
        amp: forward pass in bfloat16 where torch's autocast finds it safe.
        clip: largest norm of the network's gradient, None for no limit.
        begun: sums of the first of `epochs`, if an earlier process did a part of it.
        on_step: called after each step with the epoch and its sums; may raise to stop.

    Raises:
        FloatingPointError: a loss or a gradient is not finite.
    """
    shared, last_shared, heads = model.shared_parameters(), model.last_shared_parameters(), model.head_parameters()
    network = [*shared, *chain.from_iterable(heads)]
    for epoch in epochs:
        model.train()
        sums, begun = begun or EpochSums(tasks, device), None
        for batch in loader.epoch(epoch, sums.steps):
            sums.lr = schedule.apply(epoch * len(loader) + sums.steps)
            optimizer.zero_grad(set_to_none=True)
            features, outputs, losses = forward(model, tasks, batch, device, amp)
            again = partial(losses_again, model, tasks, batch, device, amp)
            step = Step(losses, batch.active, features, shared, last_shared, heads, epoch, sums.steps, again)
            weights = weighting.backward(step)
            norms = gradient_norms([*heads, shared], device)
            factor = clip_(network, torch.linalg.vector_norm(norms), clip) if clip else None
            optimizer.step()
            weighting.after_step(step)
            extra = {"weight/residual": weighting.residual, "clip_factor": factor}
            sums.update(losses, weights, norms, batch.active, **extra)
            with torch.no_grad():
                for k, (metric, task, output) in enumerate(zip(sums.metrics, tasks, outputs, strict=True)):
                    metric.update(task.predict(output), batch.targets[:, k], batch.masks[:, k])
            if sums.steps % CHECK_EVERY == 0:
                sums.check(epoch)
            on_step(epoch, sums)
        losses_mean, metrics, row = sums.compute(epoch)
        weighting.end_epoch(losses_mean, metrics)
        on_epoch(TrainedEpoch(epoch, row, sums.seconds, len(loader)))
