"""The weighting contract: K losses in, gradients in `.grad` and K effective weights out.

A method implements exactly one of `total`, `weights` and `direction`; this class does the rest. What it returns as
effective weights is what it sent into the network, so a logged weight cannot differ from the one that trained.

Shapes: K tasks, A of them active, n shared parameters, B pictures, D features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mtl.tasks import Task
from mtl.weighting.control import Control
from mtl.weighting.jacobian import Jacobian, gramian, least_squares_weights, representation_rows
from mtl.weighting.step import Step


class Weighting(nn.Module):
    """Base of all methods.

    Loss-based methods implement `total(losses [A]) -> scalar`, methods that need only G = J J^T implement
    `weights(gramian [A, A]) -> [A]`, the others `direction(jacobian [A, n]) -> [n]`. Inactive tasks are taken out
    before the method sees anything; `self.active` holds the positions of the A tasks it does see, for methods with
    state per task, and `self.losses` the values of their losses.
    """

    #: smallest loss that the method can divide by or take the logarithm of: a smaller one counts as this, and the
    #: weight of a negative one is NaN, for which the run stops at its next look and names the task. (Asking whether a
    #: loss is negative would wait for the device at every step.) None: any loss will do.
    floor: float | None = None
    #: what keeps the method from gradients of the representation, which belong to the pictures of one batch; or None
    parameters_only: str | None = None

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.tasks = list(tasks)
        self.active: list[int] = list(range(len(self.tasks)))
        #: values of the active losses [A], as the method is to see them
        self.losses = torch.zeros(0)
        #: what `prescale` has multiplied the active losses with, [A]
        self.prescale_factors: Tensor | None = None
        #: relative distance of the update from the span of the task gradients; None where it lies inside
        self.residual: Tensor | None = None
        self.control = Control()
        self.prescale: Weighting | None = None
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

    def loss_factors(self) -> Tensor | None:
        """Derivatives [A] of what a gradient-based method takes the gradients of, with respect to the losses.

        For a method that works on functions of the losses, of shared parameters and heads alike: 1 / L for log L. From
        `self.losses`; None: the losses themselves.
        """
        return None

    def look(self, step: Step) -> None:
        """Called before a gradient is taken, `active` and `prescale_factors` being set; for what values do not tell."""

    def after_step(self, step: Step) -> None:
        """Called after the optimizer's step; a method that looks at the changed losses extends it (and calls it)."""
        # An optimizer with momentum moves a parameter whose gradient is zero: an inactive
        # task's entries are put back (its momentum decays).
        with torch.no_grad():
            for name, held in self._held.items():
                inactive = [k for k in range(len(self.tasks)) if k not in self.active]
                self.get_parameter(name)[inactive] = held[inactive]
        self._held = {}
        if self.prescale is not None:
            self.prescale.after_step(step)

    def end_epoch(self, train_losses: Tensor, train_metrics: Mapping[str, Mapping[str, float | None]]) -> None:
        """Called after each epoch with the mean training losses [K] (NaN: no label all epoch) and training metrics.

        A method with a history extends it (and calls it).
        """
        if self.prescale is not None:
            self.prescale.end_epoch(train_losses, train_metrics)

    def compose(self, control: Control, prescale: Weighting | None) -> None:
        """Apply the controls, and let this method see the losses times the weights of the method `prescale`.

        Raises:
            ValueError: `prescale` works on gradients, or the method brings one of its own; or `parameters_only`.
        """
        if self.parameters_only and control.features == "representation":
            raise ValueError(
                f"control.features=representation: {type(self).__name__} {self.parameters_only}, and those of the "
                "representation belong to the pictures of one batch; use parameters."
            )
        if prescale is not None and prescale.kind != "total":
            raise ValueError("weighting@prescale: expected a loss-based method, which can scale losses.")
        if prescale is not None and self.prescale is not None:
            raise ValueError("weighting@prescale: this method scales the losses itself; choose only one of the two.")
        self.control, self.prescale = control, prescale or self.prescale

    @property
    def at(self) -> slice | list[int]:
        """Index of the active tasks in a tensor [K, ...]; a slice if that is all (a list waits for the device)."""
        return slice(None) if len(self.active) == len(self.tasks) else self.active

    def seen(self, losses: Sequence[Tensor]) -> Tensor:
        """Values [A] of the K `losses` as the method sees those of this step: the active ones, scaled and bounded."""
        values = torch.stack([losses[k].detach() for k in self.active])
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        return self._bounded(values if self.prescale_factors is None else values * self.prescale_factors)

    def backward(self, step: Step) -> Tensor:
        """Fill `.grad` of the network and of the method's own parameters; return the effective weights [K].

        The gradient on the shared parameters is the sum of w_k times the gradient of loss k. An inactive task has
        weight 0. The caller clears old gradients first.

        Raises:
            ValueError: a method that works on gradients, and no shared parameter that trains.
        """
        self.active = [k for k, is_active in enumerate(step.active) if is_active]
        self.losses, self.prescale_factors, self.residual = torch.zeros(0), None, None
        if self.prescale is not None:
            self.prescale.active, self.prescale.losses = self.active, torch.zeros(0)
        full = torch.zeros(len(step.losses), device=step.losses[0].device)
        if not self.active:
            return full
        if len(self.active) < len(self.tasks):
            self._held = {
                name: parameter.detach().clone()
                for name, parameter in self.named_parameters()
                if parameter.dim() and len(parameter) == len(self.tasks)
            }
        losses = [step.losses[k] for k in self.active]
        values = torch.stack([loss.detach() for loss in losses])
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        scales = None
        if self.prescale is not None:
            self.prescale.look(step)
            self.prescale_factors = scales = self.prescale.loss_weights(values)
            values = values * scales
        self.look(step)
        if self.kind == "total":
            effective = self.loss_weights(values)
        else:
            effective, self.losses = None, self._bounded(values)
            if (inner := self.loss_factors()) is not None:
                inner = self._marked(inner, values)
                scales = inner if scales is None else scales * inner
        if effective is not None and scales is not None:
            effective = effective * scales
        if effective is not None and self.control.normalize != "match_sum_norm":
            effective = effective * self.control.factor(effective)
            self._send(step, losses, effective)
        else:
            effective = self._combine(step, losses, scales, effective)
        full[self.at] = effective.to(full.dtype)
        return full

    def loss_weights(self, values: Tensor) -> Tensor:
        """Derivative of `total` at the active losses `values` [A]; own parameters get their gradients."""
        # The graph is cut at the losses: the derivative of the method's total is taken there and exactly that
        # vector is sent into the network.
        self.losses = self._bounded(values)
        leaf = self.losses.detach().requires_grad_()
        self.total(leaf).backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None, "total() does not depend on the losses"
        return self._marked(leaf.grad, values)

    def _bounded(self, values: Tensor) -> Tensor:
        return values if self.floor is None else values.clamp(min=self.floor)

    def _marked(self, weights: Tensor, values: Tensor) -> Tensor:
        """`weights` [A], NaN where the loss of `values` [A] is negative and must not be."""
        return weights if self.floor is None else torch.where(values < 0, math.nan, weights)

    def _send(self, step: Step, losses: list[Tensor], effective: Tensor) -> None:
        """Send `effective` [A] into the network through the losses."""
        if self.control.heads == "raw":
            own = [parameter for k in self.active for parameter in step.heads[k]]
            if own:
                torch.autograd.backward(losses, [torch.ones_like(x) for x in losses], inputs=own, retain_graph=True)
        inputs = step.shared if self.control.heads == "raw" else None
        if inputs is None or inputs:
            weights = [w.to(loss.dtype) for w, loss in zip(effective, losses, strict=True)]
            torch.autograd.backward(losses, weights, inputs=inputs)

    def _combine(self, step: Step, losses: list[Tensor], scales: Tensor | None, effective: Tensor | None) -> Tensor:
        """Combine the gradients of the tasks; `effective` is given by a loss-based method. Returns the weights [A]."""
        if not step.shared:
            raise ValueError(
                f"{type(self).__name__} combines gradients of the shared parameters, and none of them trains; "
                "unfreeze the backbone or choose a loss-based weighting."
            )
        representation = self.control.features == "representation"
        if representation:
            rows = representation_rows(step.features, losses, [step.heads[k] for k in self.active])
        else:
            if self._jacobian is None or not self._jacobian.is_of(step.shared):
                self._jacobian = Jacobian(step.shared, len(self.tasks))
            rows = self._jacobian.fill(losses)
        sum_norm = torch.linalg.vector_norm(rows.sum(0)) if self.control.normalize == "match_sum_norm" else None
        # Straight into the buffer that the optimizer will read: a vector as long as the network is 40 MB to allocate.
        out = None if representation or self._jacobian is None else self._jacobian.update
        if scales is not None and self.kind != "total":
            rows.mul_(scales.to(rows.dtype)[:, None])
        if effective is not None:
            update = torch.mv(rows.T, effective.to(rows.dtype), out=out)
        elif self.kind == "weights":
            effective = self.weights(gramian(rows)).to(rows.dtype)
            update = torch.mv(rows.T, effective, out=out)
        else:
            update = self.direction(rows)
            effective, self.residual = least_squares_weights(rows, update)
        if scales is not None and self.kind != "total":
            effective = effective * scales
        if self.control.normalize != "none":
            factor = self.control.factor(effective, sum_norm, update)
            effective, update = effective * factor, update * factor.to(update.dtype)
        if representation:
            step.features.backward(update.view_as(step.features).to(step.features.dtype))  # type: ignore[no-untyped-call]
        else:
            assert self._jacobian is not None
            self._jacobian.write(update)
        if self.control.heads == "weighted" or (self.control.heads is None and self.kind == "total"):
            self._scale_heads(step, effective)
        elif self.control.heads is None and scales is not None:
            self._scale_heads(step, scales)  # the losses themselves were scaled
        return effective

    def _scale_heads(self, step: Step, factors: Tensor) -> None:
        for k, factor in zip(self.active, factors, strict=True):
            for parameter in step.heads[k]:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor.to(parameter.grad.dtype))

    def _implements(self, name: str) -> bool:
        return getattr(type(self), name) is not getattr(Weighting, name)
