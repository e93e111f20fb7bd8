"""UW-SO: softmax of the inverse losses."""

from __future__ import annotations

import math

import pytest
import torch


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_by_hand(make_tasks, make_weighting, linear_step, tau):
    """Losses (1/2, 1): softmax(2 / tau, 1 / tau), the smaller loss weighs more."""
    method = make_weighting("uw_so", make_tasks(["age", "sick"]), f"weighting.method.tau={tau}")
    weights = method.backward(linear_step(torch.eye(2), [0.5, 1.0])).tolist()
    first = math.exp(2 / tau) / (math.exp(2 / tau) + math.exp(1 / tau))
    assert weights == pytest.approx([first, 1 - first])


def test_tau_must_be_positive(tasks, make_weighting):
    with pytest.raises(ValueError, match=r"weighting\.method\.tau=0: expected a number above 0"):
        make_weighting("uw_so", tasks, "weighting.method.tau=0")
