"""Flip, shift and normalise pictures on the device, in one gather."""

from __future__ import annotations

import torch
from torch import Tensor

# ImageNet's channel means and standard deviations (0 to 1), which pretrained backbones expect.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def normalise(pictures: Tensor) -> Tensor:
    """uint8 [B, S, S, 3] -> float32 [B, 3, S, S], ImageNet mean and standard deviation per channel."""
    mean = pictures.new_tensor(_MEAN, dtype=torch.float32).view(3, 1, 1)
    std = pictures.new_tensor(_STD, dtype=torch.float32).view(3, 1, 1)
    images = pictures.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return images.mul_(1 / (255 * std)).sub_(mean / std)


def flip_and_shift(pictures: Tensor, flip: bool, shift: int, generator: torch.Generator) -> Tensor:
    """Each picture of uint8 [B, S, S, 3] mirrored with probability 1/2 and moved by up to `shift` pixels.

    What moves in at the border is reflected. The draws come from `generator`, on the CPU, so that they are the same
    on every device and untouched by methods that draw from the global generator.
    """
    num, size = pictures.shape[0], pictures.shape[1]
    rows = torch.arange(size).expand(num, size)
    columns = rows
    if shift:
        moves = torch.randint(-shift, shift + 1, (num, 2, 1), generator=generator)
        rows, columns = _reflect(rows + moves[:, 0], size), _reflect(columns + moves[:, 1], size)
    if flip:
        mirrored = torch.rand(num, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, size - 1 - columns, columns)
    # One index per pixel: a gather of whole pixels takes less than half the time of indexing three dimensions.
    first = torch.arange(num).view(num, 1) * size
    places = ((first + rows) * size)[:, :, None] + columns[:, None, :]
    return pictures.reshape(-1, 3).index_select(0, places.flatten().to(pictures.device)).view_as(pictures)


def _reflect(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)
