"""UW-O: one over the loss."""

from __future__ import annotations

import pytest
import torch


def test_by_hand(make_tasks, make_weighting, linear_step):
    """Losses (1/2, 4): weights (2, 1/4), total 2; the weights have no gradient of their own."""
    method = make_weighting("uw_o", make_tasks(["age", "sick"]))
    assert method.backward(linear_step(torch.eye(2), [0.5, 4.0])).tolist() == pytest.approx([2.0, 0.25])
    assert method.total(torch.tensor([0.5, 4.0])).item() == pytest.approx(2.0)
