"""Methods that are no independent results: the classes that tables mark."""

from __future__ import annotations

import pytest
import torch


@pytest.mark.parametrize("seed", range(5))
def test_log_uwo_and_gls_have_one_direction(seed, tasks, make_weighting, linear_step):
    values = torch.rand(3, generator=torch.Generator().manual_seed(seed)).add(0.01).tolist()
    directions = []
    for name in ("log", "uw_o", "gls"):
        weights = make_weighting(name, tasks).backward(linear_step(torch.eye(3), values))
        directions.append(weights / weights.sum())
    torch.testing.assert_close(directions[0], directions[1])
    torch.testing.assert_close(directions[0], directions[2])


def test_sum_and_mean_differ_by_the_number_of_tasks(tasks, make_weighting, linear_step):
    weights = [make_weighting(name, tasks).backward(linear_step(torch.eye(3))) for name in ("sum", "mean")]
    torch.testing.assert_close(weights[0], 3 * weights[1])


def test_stch_warms_up_as_log(tasks, make_weighting, linear_step):
    weights = [
        make_weighting(name, tasks).backward(linear_step(torch.eye(3), [0.2, 0.7, 1.6])) for name in ("stch", "log")
    ]
    assert torch.equal(*weights)
