"""Task gradients in one preallocated [K, n] buffer: autograd writes each row itself, nothing is copied."""

from __future__ import annotations

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
        self._update = torch.zeros(size, dtype=first.dtype, device=first.device)
        self._row_views = [self._views(row) for row in self._rows]
        self._update_views = self._views(self._update)

    def fill(self, losses: Sequence[Tensor]) -> Tensor:
        """The gradients of the A `losses` as [A, n]; the graph is freed with the last one."""
        rows = self._rows[: len(losses)].zero_()
        for k, loss in enumerate(losses):
            self._point(self._row_views[k])
            loss.backward(retain_graph=k < len(losses) - 1)  # type: ignore[no-untyped-call]
        return rows

    def write(self, update: Tensor) -> None:
        """Put `update` [n] into `.grad` of the parameters."""
        self._update.copy_(update)
        self._point(self._update_views)

    def _views(self, flat: Tensor) -> list[Tensor]:
        chunks = torch.split(flat, [p.numel() for p in self.parameters])
        return [chunk.view(p.shape) for chunk, p in zip(chunks, self.parameters, strict=True)]

    def _point(self, views: Sequence[Tensor]) -> None:
        for parameter, view in zip(self.parameters, views, strict=True):
            parameter.grad = view


def least_squares_weights(rows: Tensor, update: Tensor) -> tuple[Tensor, Tensor]:
    """The w [A] with the smallest norm(rows^T w - update), and that norm relative to norm(update).

    `rows` [A, n], `update` [n]. Solved on the Gramian in float64 by pseudo-inverse: parallel or zero gradients give
    the solution of least norm. The relative distance is 0 where the update lies in the span of the rows.
    """
    gramian = rows.double() @ rows.double().T
    effective = torch.linalg.pinv(gramian, hermitian=True) @ (rows.double() @ update.double())
    effective = effective.to(rows.dtype)
    distance = torch.linalg.vector_norm(effective @ rows - update)
    return effective, distance / torch.linalg.vector_norm(update).clamp(min=torch.finfo(rows.dtype).tiny)
