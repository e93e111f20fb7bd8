"""The geometric mean of the losses."""

from __future__ import annotations

import pytest
import torch
from torchjd.scalarization import GeometricMean


def test_by_hand(make_tasks, make_weighting, linear_step):
    """Losses (1, 4): sqrt(1 * 4) = 2, weights 2 / (2 L) = (1, 0.25). LibMTL logs (0.125, 0.5) for the same gradient."""
    method = make_weighting("gls", make_tasks(["age", "sick"]))
    step = linear_step(torch.eye(2), [1.0, 4.0])
    assert method.backward(step).tolist() == pytest.approx([1.0, 0.25])
    assert step.shared[0].grad.tolist() == pytest.approx([1.0, 0.25])
    assert method.total(torch.tensor([1.0, 4.0])).item() == pytest.approx(2.0)


def test_is_torchjds(tasks, make_weighting):
    losses = torch.tensor([0.3, 0.7, 1.6])
    assert make_weighting("gls", tasks).total(losses).item() == pytest.approx(GeometricMean()(losses).item())


def test_root_of_the_active_tasks(tasks, make_weighting, linear_step):
    """No label of the second: the square root of 1 * 4, not the cube root."""
    step = linear_step(torch.eye(3), [1.0, 9.0, 4.0], active=[True, False, True])
    assert make_weighting("gls", tasks).backward(step).tolist() == pytest.approx([1.0, 0.0, 0.25])
