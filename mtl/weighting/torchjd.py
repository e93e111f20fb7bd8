"""torchjd's methods through the contract: a new one of these kinds is one YAML file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mtl.tasks import Task
from mtl.weighting.base import Weighting


class Scalarizer(Weighting):
    """A loss-based torchjd scalarizer (`torchjd.scalarization`) without history.

    `scalarizer` is called once per training step, which matters to those that draw random numbers. A scalarizer
    with a parameter per task is built by `shape` (for example torchjd's UW): `scalarizer(K)`.
    """

    def __init__(self, tasks: Sequence[Task], scalarizer: nn.Module | Callable[[int], nn.Module]) -> None:
        super().__init__(tasks)
        self.scalarizer = scalarizer if isinstance(scalarizer, nn.Module) else scalarizer(len(tasks))

    def total(self, losses: Tensor) -> Tensor:
        """The scalarizer of the active losses, its parameters per task reduced to the active ones."""
        state = {
            name: parameter[self.at] if parameter.shape[:1] == (len(self.tasks),) else parameter
            for name, parameter in self.scalarizer.named_parameters()
        }
        total: Tensor = torch.func.functional_call(self.scalarizer, state, (losses,))
        return total


class GramianWeights(Weighting):
    """A torchjd weighting that needs only the Gramian (`torchjd.aggregation.*Weighting`)."""

    def __init__(self, tasks: Sequence[Task], weighting: nn.Module) -> None:
        super().__init__(tasks)
        self.weighting = weighting

    def weights(self, gramian: Tensor) -> Tensor:
        """The weighting of G [A, A]."""
        weights: Tensor = self.weighting(gramian)
        return weights


class Aggregator(Weighting):
    """A torchjd aggregator that needs the whole Jacobian (`torchjd.aggregation`)."""

    def __init__(self, tasks: Sequence[Task], aggregator: nn.Module) -> None:
        super().__init__(tasks)
        self.aggregator = aggregator

    def direction(self, jacobian: Tensor) -> Tensor:
        """The aggregation of J [A, n]."""
        update: Tensor = self.aggregator(jacobian)
        return update
