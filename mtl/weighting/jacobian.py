"""Task gradients in one preallocated [K, n] buffer: autograd writes each row itself, nothing is copied."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter


class Jacobian:
    """Gradients of K losses with respect to `parameters` (n numbers together), row by row.

    During the backward pass of loss k the `.grad` of every parameter is a view of row k, so that autograd adds into
    the buffer. Afterwards `write` leaves the combined gradient, again as views, in `.grad`. Gradients of the
    heads' parameters accumulate where they always do: each loss reaches only its own head.
    """

    def __init__(self, parameters: Sequence[Parameter], num_tasks: int) -> None:
        self.parameters = list(parameters)
        first = self.parameters[0]
        size = sum(p.numel() for p in self.parameters)
        self._rows = torch.zeros(num_tasks, size, dtype=first.dtype, device=first.device)
        #: the combined gradient [n], which `write` hands to the parameters
        self.update = torch.zeros(size, dtype=first.dtype, device=first.device)
        self._row_views = [self._views(row) for row in self._rows]
        self._update_views = self._views(self.update)

    def is_of(self, parameters: Sequence[Parameter]) -> bool:
        """Whether these are the very parameters the buffer was made for."""
        return len(parameters) == len(self.parameters) and all(map(operator.is_, parameters, self.parameters))

    def fill(self, losses: Sequence[Tensor]) -> Tensor:
        """The gradients of the A `losses` as [A, n]; the graph is freed with the last one."""
        rows = self._rows[: len(losses)].zero_()
        for k, loss in enumerate(losses):
            self._point(self._row_views[k])
            loss.backward(retain_graph=k < len(losses) - 1)  # type: ignore[no-untyped-call]
        return rows

    def write(self, update: Tensor) -> None:
        """Put `update` [n] into `.grad` of the parameters; for free if it lies in `self.update` already."""
        if update is not self.update:
            self.update.copy_(update)
        self._point(self._update_views)

    def _views(self, flat: Tensor) -> list[Tensor]:
        chunks = torch.split(flat, [p.numel() for p in self.parameters])
        return [chunk.view(p.shape) for chunk, p in zip(chunks, self.parameters, strict=True)]

    def _point(self, views: Sequence[Tensor]) -> None:
        for parameter, view in zip(self.parameters, views, strict=True):
            parameter.grad = view


def gradient_rows(losses: Sequence[Tensor], parameters: Sequence[Parameter], keep_graph: bool = False) -> Tensor:
    """Gradients of the A `losses` with respect to `parameters` (n numbers together), as [A, n]; no `.grad` changes.

    The graph is freed with the last one, unless it is to be kept.
    """
    first = parameters[0]
    rows = torch.empty(len(losses), sum(p.numel() for p in parameters), dtype=first.dtype, device=first.device)
    for k, loss in enumerate(losses):
        keep = keep_graph or k < len(losses) - 1
        gradients = torch.autograd.grad(loss, parameters, retain_graph=keep, allow_unused=True)
        pairs = zip(gradients, parameters, strict=True)
        torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs], out=rows[k])
    return rows


def representation_rows(features: Tensor, losses: Sequence[Tensor], heads: Sequence[Sequence[Parameter]]) -> Tensor:
    """Gradients of the A `losses` with respect to `features` [B, D], as [A, B D]; heads get their own gradients.

    The backbone is not passed; its graph stays for one backward pass from the features.
    """
    rows = []
    for loss, parameters in zip(losses, heads, strict=True):
        row, *gradients = torch.autograd.grad(loss, [features, *parameters], allow_unused=True)
        rows.append((torch.zeros_like(features) if row is None else row).flatten())
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
    stacked = torch.stack(rows)
    return stacked.to(torch.promote_types(stacked.dtype, torch.float32))


def least_squares_weights(rows: Tensor, update: Tensor) -> tuple[Tensor, Tensor]:
    """The w [A] with the smallest norm(rows^T w - update), and that norm relative to norm(update).

    `rows` [A, n], `update` [n]. Solved on the matrix of cosines in float64 by pseudo-inverse: parallel gradients share
    the weight, a zero gradient has none. The relative distance is 0 where the update lies in the span of the rows.
    """
    squared = products(rows, rows)
    norms = squared.diagonal().sqrt()
    scale = torch.where(norms > 0, 1 / norms, 0.0)
    # What is not finite stays so through the right-hand side; in the matrix it would make pinv raise, where the run's
    # own check can name the task.
    cosines = (squared * scale[:, None] * scale).nan_to_num(0.0, 0.0, 0.0)
    right = scale * products(rows, update[None])[:, 0]
    effective = (scale * (torch.linalg.pinv(cosines, rtol=1e-6, hermitian=True) @ right)).to(rows.dtype)
    distance = torch.linalg.vector_norm(torch.addmv(update, rows.T, effective, beta=-1))
    return effective, distance / torch.linalg.vector_norm(update).clamp(min=torch.finfo(rows.dtype).tiny)


def gramian(rows: Tensor) -> Tensor:
    """J J^T [A, A] of `rows` J [A, n], in the dtype of the rows."""
    return products(rows, rows).to(rows.dtype)


def products(left: Tensor, right: Tensor) -> Tensor:
    """`left` [A, n] times `right` [B, n] transposed: [A, B] in float64, summed in float64 over pieces of 4096 columns.

    A single float32 product adds up n numbers one after another: for 11 million parameters its cosines are wrong by
    1e-3, these by 1e-7, and it is no slower.
    """
    number = left.shape[1] // 4096
    whole = number * 4096
    one, other = (rows[:, :whole].view(len(rows), number, 4096).transpose(0, 1) for rows in (left, right))
    whole_part = torch.bmm(one, other.transpose(1, 2)).sum(0, dtype=torch.float64)
    return whole_part + left[:, whole:] @ right[:, whole:].T
