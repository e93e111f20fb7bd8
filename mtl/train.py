"""The training loop. It knows no method: a weighting fills the gradients and says which weights it used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat

import torch
from torch import Tensor
from torch.optim import Optimizer

from mtl.conflict import task_gramian
from mtl.data.batch import Batch
from mtl.data.loader import Loader
from mtl.model import HydraNet, statistics_kept
from mtl.optim import Schedule, clip_, gradient_norms
from mtl.sums import CHECK_EVERY, EpochSums
from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.step import Step


@dataclass(frozen=True)
class TrainedEpoch:
    """What an epoch of training left: the training part of its history row and its time."""

    epoch: int
    row: dict[str, float | None]
    seconds: float
    num_steps: int


class Steps:
    """From a batch to what a weighting gets to see of it; parameters are looked up once."""

    def __init__(self, model: HydraNet, tasks: Sequence[Task], device: torch.device, amp: bool = False) -> None:
        self.model, self.tasks, self.device, self.amp = model, list(tasks), device, amp
        self.shared, self.last_shared = model.shared_parameters(), model.last_shared_parameters()
        self.heads = model.head_parameters()

    def make(
        self, batch: Batch, epoch: int = 0, index: int = 0, further: Iterator[Batch] | None = None
    ) -> tuple[Step, list[Tensor]]:
        """The step, and the K outputs [B, W_k] in float32. `further`: other training batches, for methods that ask."""
        features, outputs, losses = self._forward(batch)
        again = partial(self._again, {"same": repeat(batch), "train": further})
        parameters = self.shared, self.last_shared, self.heads
        return Step(losses, batch.active, features, *parameters, epoch, index, again), outputs

    def _forward(self, batch: Batch) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            features, raw = self.model(batch.images)
        outputs = [output.float() for output in raw]
        pairs = enumerate(zip(self.tasks, outputs, strict=True))
        return features, outputs, [task.loss(o, batch.targets[:, k], batch.masks[:, k]) for k, (task, o) in pairs]

    def _again(self, batches: Mapping[str, Iterator[Batch] | None], which: str) -> list[Tensor]:
        if (source := batches.get(which)) is None:
            raise ValueError(f"this step has no losses of a batch '{which}'")
        batch = next(source)
        with statistics_kept(self.model):
            return self._forward(batch)[2]


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
    probe: int | None = None,
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
        probe: look every so many steps of an epoch whether the tasks' gradients conflict, from its first step on, at
            the cost of a backward pass per task; None for never. Nothing of the training changes.
        begun: sums of the first of `epochs`, if an earlier process did a part of it.
        on_step: called after each step with the epoch and its sums; may raise to stop.

    Raises:
        FloatingPointError: a loss or a gradient is not finite.
    """
    steps = Steps(model, tasks, device, amp)
    shared, heads = steps.shared, steps.heads
    network = [*shared, *chain.from_iterable(heads)]
    for epoch in epochs:
        model.train()
        sums, begun = begun or EpochSums(tasks, device), None
        for batch in loader.epoch(epoch, sums.steps):
            sums.lr = schedule.apply(epoch * len(loader) + sums.steps)
            optimizer.zero_grad(set_to_none=True)
            step, outputs = steps.make(batch, epoch, sums.steps, loader.further(epoch, sums.steps))
            probed = task_gramian(step.losses, batch.active, shared) if probe and sums.steps % probe == 0 else None
            weights = weighting.backward(step)
            norms = gradient_norms([*heads, shared], device)
            factor = clip_(network, torch.linalg.vector_norm(norms), clip) if clip else None
            optimizer.step()
            weighting.after_step(step)
            extra = {"weight/residual": weighting.residual, "clip_factor": factor}
            sums.update(step.losses, weights, norms, batch.active, probed, **extra)
            with torch.no_grad():
                for k, (metric, task, output) in enumerate(zip(sums.metrics, tasks, outputs, strict=True)):
                    metric.update(task.predict(output), batch.targets[:, k], batch.masks[:, k])
            if sums.steps % CHECK_EVERY == 0:
                sums.check(epoch)
            on_step(epoch, sums)
        losses_mean, metrics, row = sums.compute(epoch)
        weighting.end_epoch(losses_mean, metrics)
        on_epoch(TrainedEpoch(epoch, row, sums.seconds, len(loader)))
