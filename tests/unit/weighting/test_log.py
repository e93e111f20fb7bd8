"""The sum of the logarithms."""

from __future__ import annotations

import math

import pytest
import torch


def test_by_hand(make_tasks, make_weighting, linear_step):
    """Losses (1/2, 4): log 2, weights (2, 1/4); log(1 + L) would have (2/3, 1/5)."""
    method = make_weighting("log", make_tasks(["age", "sick"]))
    assert method.backward(linear_step(torch.eye(2), [0.5, 4.0])).tolist() == pytest.approx([2.0, 0.25])
    assert method.total(torch.tensor([0.5, 4.0])).item() == pytest.approx(math.log(2))


def test_units_do_not_matter(make_tasks, make_weighting, linear_step):
    """A loss in other units (times 30, gradient too) gives the same update of the shared parameters."""
    rows, losses, units = torch.tensor([[1.0, 0.2], [-0.7, 0.5]]), torch.tensor([0.3, 0.7]), torch.tensor([30.0, 1.0])
    method = make_weighting("log", make_tasks(["age", "sick"]))
    updates = []
    for scale in (torch.ones(2), units):
        step = linear_step(rows * scale[:, None], (losses * scale).tolist())
        method.backward(step)
        updates.append(step.shared[0].grad)
    torch.testing.assert_close(*updates)
