"""Methods that divide by a loss or take its logarithm: what a loss of 0 and a negative one do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mtl.optim import gradient_norms
from mtl.sums import EpochSums

BOUNDED = ["uw_so", "uw_o", "gls", "log", "cov", "stch", "famo", "gradnorm", "db_mtl"]


def test_these_have_a_floor(weighting_name, make_weighting, tasks):
    assert (make_weighting(weighting_name, tasks).floor is not None) == (weighting_name in BOUNDED)


@pytest.mark.parametrize("name", BOUNDED)
def test_zero_is_no_end(name, make_weighting, tasks, linear_step):
    """A task that is fitted exactly: all numbers stay finite, in this step and in the next ones."""
    method = make_weighting(name, tasks)
    values = [[0.2, 0.7, 1.6], [0.0, 0.7, 1.6], [0.0, 0.5, 1.5], [0.1, 0.5, 1.4]]
    for n, (before, after) in enumerate(zip(values, [*values[1:], values[-1]], strict=True)):
        step = replace(linear_step(torch.eye(3), before), forward=lambda batch, after=after: list(torch.tensor(after)))
        weights = method.backward(step)
        method.after_step(step)
        assert weights.isfinite().all(), n
        assert (weights >= 0).all()
        assert step.shared[0].grad.isfinite().all()
    assert all(value.isfinite().all() for value in method.state_dict().values() if isinstance(value, torch.Tensor))


@pytest.mark.parametrize(
    ("name", "wanted"), [("log", 1e8), ("uw_o", 1e8), ("uw_so", 1.0), ("famo", 1.0), ("gls", 0.5e4 * 0.7**0.5)]
)
def test_weight_of_a_zero_loss(name, wanted, make_weighting, make_tasks, linear_step):
    """That of a loss of 1e-8: for gls sqrt(1e-8 * 0.7) / (2e-8)."""
    method = make_weighting(name, make_tasks(["age", "sick"]))
    weights = method.backward(linear_step(torch.eye(2), [0.0, 0.7])).tolist()
    assert weights[0] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", [name for name in BOUNDED if name != "db_mtl"])
def test_negative_loss_has_no_weight(name, make_weighting, tasks, linear_step):
    weights = make_weighting(name, tasks).backward(linear_step(torch.eye(3), [0.2, -0.1, 1.6]))
    assert weights.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("name", BOUNDED)
def test_negative_loss_stops_the_run(name, make_weighting, tasks, make_bench):
    """By the look for what is not finite that every run takes; it names the task."""
    loss = tasks[1].loss_function
    tasks[1] = replace(tasks[1], loss_function=lambda *args: loss(*args) - 5)
    bench, method, sums = make_bench(tasks), make_weighting(name, tasks), EpochSums(tasks, torch.device("cpu"))
    step = bench.step()
    weights = method.backward(step)
    norms = gradient_norms([*step.heads, step.shared], torch.device("cpu"))
    sums.update(step.losses, weights, norms, step.active)
    with pytest.raises(FloatingPointError, match="the gradient of task 'sick' is not finite in epoch 0, step 0"):
        sums.check(0)
