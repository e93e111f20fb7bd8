"""Smooth Tchebycheff: both forms by hand, the warm-up, and its limits."""

from __future__ import annotations

import math

import pytest
import torch
from torchjd import scalarization

RAW = "weighting.method.logarithm=false"


def weights(method, linear_step, values, active=None):
    return method.backward(linear_step(torch.eye(len(values)), values, active)).tolist()


def test_by_hand(make_tasks, make_weighting, linear_step):
    """mu = 1, reference (1, 2), losses (1/2, 2): u = log L - log z = (-log 2, 0), 2 log(1/2 + 1).

    Softmax of u (1/3, 2/3), times 2 / L: (4/3, 2/3). Before: the sum of log L, (2, 1/2).
    """
    method = make_weighting("stch", make_tasks(["age", "sick"]))
    assert weights(method, linear_step, [0.5, 2.0]) == pytest.approx([2.0, 0.5])
    method.end_epoch(torch.tensor([1.0, 2.0], dtype=torch.float64), {})
    assert method.total(torch.tensor([0.5, 2.0])).item() == pytest.approx(2 * math.log(1.5))
    assert weights(method, linear_step, [0.5, 2.0]) == pytest.approx([4 / 3, 2 / 3])


def test_on_the_losses_themselves_by_hand(make_tasks, make_weighting, linear_step):
    """mu = 1/2, p = (1/4, 3/4), z = (1/2, 1/2), L = (1, 2): x = p (L - z) / mu = (1/4, 9/4)."""
    options = [RAW, "weighting.method.mu=0.5", "weighting.method.preference={sick: 3}"]
    method = make_weighting("stch", make_tasks(["age", "sick"]), *options)
    assert weights(method, linear_step, [1.0, 2.0]) == pytest.approx([0.25, 0.75])
    method.end_epoch(torch.tensor([0.5, 0.5], dtype=torch.float64), {})
    total = math.exp(0.25) + math.exp(2.25)
    assert method.total(torch.tensor([1.0, 2.0])).item() == pytest.approx(math.log(total) / 2)
    wanted = [0.25 * math.exp(0.25) / total, 0.75 * math.exp(2.25) / total]
    assert weights(method, linear_step, [1.0, 2.0]) == pytest.approx(wanted)


@pytest.mark.parametrize("logarithm", [True, False])
def test_is_torchjds(tasks, make_weighting, logarithm):
    method = make_weighting("stch", tasks, f"weighting.method.logarithm={str(logarithm).lower()}")
    losses, reference = torch.tensor([0.2, 0.7, 1.5]), torch.tensor([0.3, 0.9, 1.6])
    method.end_epoch(reference.double(), {})
    if logarithm:
        other = scalarization.STCH(1.0, torch.ones(3), reference.log())
        wanted = 3 * other(losses.log())
    else:
        wanted = scalarization.STCH(1.0, None, reference)(losses)
    assert method.total(losses).item() == pytest.approx(wanted.item())


def test_limits(tasks, make_weighting, linear_step):
    """A small mu is the task that has fallen least, alone (and no overflow); a large one goes on as the warm-up."""
    for mu, wanted in ((1e-4, [0.0, 0.0, 3 / 1.6]), (1e4, [5.0, 1 / 0.7, 1 / 1.6])):
        method = make_weighting("stch", tasks, f"weighting.method.mu={mu}")
        method.end_epoch(torch.tensor([0.4, 1.0, 1.7], dtype=torch.float64), {})
        assert weights(method, linear_step, [0.2, 0.7, 1.6]) == pytest.approx(wanted, rel=1e-3)


def test_the_last_epoch_of_the_warm_up_counts(tasks, make_weighting):
    method = make_weighting("stch", tasks, "weighting.method.warmup_epochs=2")
    for factor, wanted in ((3, [0.0, 0.0, 0.0]), (2, [2.0, 4.0, 8.0]), (1, [2.0, 4.0, 8.0])):
        method.end_epoch(factor * torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64), {})
        assert method.reference.tolist() == wanted


def test_no_label_in_the_warm_up(tasks, make_weighting, linear_step):
    """Batches with that task go on warming up; the others are compared without it; the next epoch brings it."""
    method = make_weighting("stch", tasks)
    method.end_epoch(torch.tensor([0.4, math.nan, 1.6], dtype=torch.float64), {})
    assert weights(method, linear_step, [0.2, 0.5, 1.6]) == pytest.approx([5.0, 2.0, 1 / 1.6])
    # u = (-log 2, 0): softmax (1/3, 2/3), times 2 / L.
    wanted = [2 / 3 / 0.2, 0.0, 4 / 3 / 1.6]
    assert weights(method, linear_step, [0.2, 0.5, 1.6], [True, False, True]) == pytest.approx(wanted)
    method.end_epoch(torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64), {})
    assert method.reference.tolist() == pytest.approx([0.4, 0.5, 1.6])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("mu=0", r"mu=0: expected a number above 0"),
        ("warmup_epochs=0", r"warmup_epochs=0: expected at least 1"),
        ("preference={sick: 0}", r"preference: expected numbers above 0"),
        ("preference={height: 2}", r"preference.height=2: there is no task 'height'"),
    ],
)
def test_wrong_numbers(tasks, make_weighting, override, message):
    with pytest.raises(ValueError, match=rf"weighting\.method\.{message}"):
        make_weighting("stch", tasks, f"weighting.method.{override}")
