"""Numbers per task that a user gives by the tasks' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtl.tasks import Task


def per_task(tasks: Sequence[Task], key: str, given: Mapping[str, float] | None, default: float) -> Tensor:
    """`given` as [K], `default` where a task is not named; `key` is what the user sets, for the message.

    Raises:
        ValueError: a number for a task that is not trained, or one that is not finite or below 0.
    """
    names = [task.name for task in tasks]
    for name, number in (given or {}).items():
        if name not in names:
            raise ValueError(
                f"{key}.{name}={number}: there is no task '{name}' in this run; its tasks are {', '.join(names)}."
            )
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < float("inf"):
            raise ValueError(f"{key}.{name}={number}: expected a finite number of at least 0.")
    return torch.tensor([float((given or {}).get(name, default)) for name in names])
