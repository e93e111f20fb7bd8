"""Batches of one part of a packed data set: gather by index, move to the device, augment there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor

from mtl.data.augment import flip_and_shift, normalise
from mtl.data.batch import Batch
from mtl.data.noise import LabelNoise
from mtl.tasks import Task


@dataclass(frozen=True)
class Augment:
    """Random changes of training pictures."""

    flip: bool
    shift: int  # pixels


class Loader:
    """Batches of the pictures `indices`; in random order, augmented and without a partial last batch if training.

    The order depends on (seed, epoch) alone, augmentation and noise on (seed, epoch, batch): every method of a study
    sees the same batches, whatever it draws itself, and a run continues in the middle of an epoch with the batches it
    would have seen.

    Args:
        images: uint8 [N, S, S, 3], a memory map of the whole set.
        labels: float32 [N, K] on the CPU, NaN where missing, columns in the order of `tasks`.
        indices: int64 [M], positions in `images`.
        augment: given for training, None for evaluation.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: Tensor,
        indices: np.ndarray,
        tasks: Sequence[Task],
        batch_size: int,
        device: torch.device,
        *,
        seed: int = 0,
        augment: Augment | None = None,
        noise: LabelNoise | None = None,
    ) -> None:
        self._images, self._labels = images, labels
        self.indices = torch.from_numpy(np.asarray(indices))
        self._tasks, self._device, self._seed = list(tasks), device, seed
        self._augment, self._noise = augment, noise
        self.batch_size = min(batch_size, len(indices)) if augment else batch_size

    def __len__(self) -> int:
        if self._augment:
            # BatchNorm fails on a last batch of one picture, and a small one is noisy.
            return len(self.indices) // self.batch_size
        return -(-len(self.indices) // self.batch_size)

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from the batch `start` on."""
        indices = self.indices
        if self._augment:
            indices = indices[torch.randperm(len(indices), generator=self._generator("order", epoch))]
        for number in range(start, len(self)):
            members = indices[number * self.batch_size : (number + 1) * self.batch_size]
            yield self._batch(members, epoch, number)

    def further(self, epoch: int, number: int) -> Iterator[Batch]:
        """Batches beside the batch `number` of a training epoch, without end: each drawn by itself from all pictures.

        They depend on (seed, epoch, number) alone, as do those of the epoch, which they leave as they are.
        """
        for draw in count():
            order = torch.randperm(len(self.indices), generator=self._generator("further", epoch, number, draw))
            yield self._batch(self.indices[order[: self.batch_size]], epoch, number, draw)

    def _batch(self, indices: Tensor, *place: int) -> Batch:
        pictures = torch.from_numpy(self._images[indices.numpy()]).to(self._device)
        labels = self._labels[indices]
        if self._augment:
            generator = self._generator("augmentation", *place)
            pictures = flip_and_shift(pictures, self._augment.flip, self._augment.shift, generator)
            if self._noise:
                # One for each task: a single-task run sees the same noise as a multi-task run.
                noise = [self._generator(f"noise of {task.name}", *place) for task in self._tasks]
                labels = self._noise.visit(labels, self._tasks, noise)
        masks = ~labels.isnan()
        return Batch(
            images=normalise(pictures),
            targets=torch.where(masks, labels, 1.0).to(self._device),
            masks=masks.to(self._device),
            active=masks.any(0).tolist(),
            indices=indices,
        )

    def _generator(self, purpose: str, *place: int) -> torch.Generator:
        digest = hashlib.sha256(f"{self._seed}:{purpose}:{place}".encode()).hexdigest()
        return torch.Generator().manual_seed(int(digest[:15], 16))
