"""The weighting contract: K losses in, gradients in `.grad` and K effective weights out.

A method implements exactly one of `total`, `weights` and `direction`; this class does the rest. What it returns as
effective weights is what it sent into the network, so a logged weight cannot differ from the one that trained.

Shapes: K tasks, A of them active, n shared parameters, B pictures, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from mtl.tasks import Task
from mtl.weighting.jacobian import Jacobian, least_squares_weights


def _no_forward(batch: str) -> list[Tensor]:
    raise ValueError(f"this step has no losses of '{batch}' to give")


@dataclass
class Step:
    """What a method may look at in one training step."""

    losses: list[Tensor]  # K separate 0-dim tensors in the order of the tasks; never stacked
    active: list[bool]  # False: no label of this task in the batch
    features: Tensor  # [B, D], the last shared representation
    shared: list[Parameter]  # trainable parameters of the backbone
    last_shared: list[Parameter]  # those of its last layer
    heads: list[list[Parameter]]  # trainable parameters of each task's head
    epoch: int
    index: int  # of the step within the epoch
    # "same": the losses of this batch again, with the parameters as they are then; the network's statistics stay
    forward: Callable[[str], list[Tensor]] = _no_forward


class Weighting(nn.Module):
    """Base of all methods.

    Loss-based methods implement `total(losses [A]) -> scalar`, methods that need only G = J J^T implement
    `weights(gramian [A, A]) -> [A]`, the others `direction(jacobian [A, n]) -> [n]`. Inactive tasks are taken out
    before the method sees anything; `self.active` holds the positions of the A tasks it does see, for methods with
    state per task.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.tasks = list(tasks)
        self.active: list[int] = list(range(len(self.tasks)))
        #: relative distance of the update from the span of the task gradients; None where it lies inside
        self.residual: Tensor | None = None
        self._jacobian: Jacobian | None = None
        self._held: dict[str, Tensor] = {}
        kinds = [kind for kind in ("total", "weights", "direction") if self._implements(kind)]
        if len(kinds) != 1:
            found = " and ".join(kinds) or "none"
            raise TypeError(f"{type(self).__name__} must implement one of total, weights, direction; found {found}.")
        self.kind = kinds[0]

    def total(self, losses: Tensor) -> Tensor:
        """Scalar to minimise from the active losses [A]; the method's own parameters may take part."""
        raise NotImplementedError

    def weights(self, gramian: Tensor) -> Tensor:
        """Weights [A] of the active tasks from G = J J^T [A, A]."""
        raise NotImplementedError

    def direction(self, jacobian: Tensor) -> Tensor:
        """Update [n] of the shared parameters from the gradients of the active tasks [A, n]."""
        raise NotImplementedError

    def after_step(self, step: Step) -> None:
        """Called after the optimizer's step; a method that looks at the changed losses extends it."""
        # An optimizer with momentum moves a parameter whose gradient is zero: an inactive
        # task's entries are put back (its momentum decays).
        with torch.no_grad():
            for name, held in self._held.items():
                inactive = [k for k in range(len(self.tasks)) if k not in self.active]
                self.get_parameter(name)[inactive] = held[inactive]
        self._held = {}

    def end_epoch(self, train_losses: Tensor, train_metrics: Mapping[str, Mapping[str, float | None]]) -> None:
        """Called after each epoch with the mean training losses [K] (NaN: no label all epoch) and training metrics."""

    def backward(self, step: Step) -> Tensor:
        """Fill `.grad` of the network and of the method's own parameters; return the effective weights [K].

        The gradient on the shared parameters is the sum of w_k times the gradient of loss k. An inactive task has
        weight 0. The caller clears old gradients first.

        Raises:
            ValueError: a method that works on gradients, and no shared parameter that trains.
        """
        self.active = [k for k, is_active in enumerate(step.active) if is_active]
        self.residual = None
        full = torch.zeros(len(step.losses), device=step.losses[0].device)
        if not self.active:
            return full
        if len(self.active) < len(self.tasks):
            self._held = {
                name: parameter.detach().clone()
                for name, parameter in self.named_parameters()
                if parameter.dim() and len(parameter) == len(self.tasks)
            }
        effective = self._backward_total(step) if self.kind == "total" else self._backward_jacobian(step)
        full[self.active] = effective.to(full.dtype)
        return full

    def _backward_total(self, step: Step) -> Tensor:
        # The graph is cut at the losses: the derivative of the method's total is taken there and exactly that
        # vector is sent into the network.
        losses = [step.losses[k] for k in self.active]
        leaf = torch.stack([loss.detach() for loss in losses])
        leaf = leaf.to(torch.promote_types(leaf.dtype, torch.float32)).requires_grad_()
        self.total(leaf).backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None, "total() does not depend on the losses"
        effective = leaf.grad
        torch.autograd.backward(losses, [w.to(loss.dtype) for w, loss in zip(effective, losses, strict=True)])
        return effective

    def _backward_jacobian(self, step: Step) -> Tensor:
        if not step.shared:
            raise ValueError(
                f"{type(self).__name__} combines gradients of the shared parameters, and none of them trains; "
                "unfreeze the backbone or choose a loss-based weighting."
            )
        if self._jacobian is None:
            self._jacobian = Jacobian(step.shared, len(self.tasks))
        rows = self._jacobian.fill([step.losses[k] for k in self.active])
        if self.kind == "weights":
            effective = self.weights(rows @ rows.T).to(rows.dtype)
            self._jacobian.write(effective @ rows)
            return effective
        update = self.direction(rows)
        effective, self.residual = least_squares_weights(rows, update)
        self._jacobian.write(update)
        return effective

    def _implements(self, name: str) -> bool:
        return getattr(type(self), name) is not getattr(Weighting, name)
