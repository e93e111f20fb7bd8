"""Liebel and Koerner's uncertainty: the form by hand, its optimum, and that it stays positive."""

from __future__ import annotations

import math

import pytest
import torch


@pytest.fixture
def method(make_tasks, make_weighting):
    return make_weighting("uncertainty_revised", make_tasks(["age", "sick"]))


def test_by_hand(method, linear_step):
    """sigma = (2, 1), L = (3, 3): L / (2 sigma^2) + log(1 + sigma^2) = 3/8 + log 5, 3/2 + log 2.

    d/dL = 1 / (2 sigma^2); d/dsigma = -L / sigma^3 + 2 sigma / (1 + sigma^2) = -3/8 + 4/5, -3 + 1.
    """
    with torch.no_grad():
        method.sigma.copy_(torch.tensor([2.0, 1.0]))
    losses = [3.0, 3.0]
    assert method.total(torch.tensor(losses)).item() == pytest.approx(3 / 8 + math.log(5) + 3 / 2 + math.log(2))
    assert method.backward(linear_step(torch.eye(2), losses)).tolist() == pytest.approx([1 / 8, 1 / 2])
    assert method.sigma.grad.tolist() == pytest.approx([0.425, -2.0])


def test_starts_at_one_and_the_optimum_is_where_the_docstring_says(method):
    assert method.sigma.tolist() == [1.0, 1.0]
    losses = torch.tensor([0.3, 7.0])
    with torch.no_grad():
        method.sigma.copy_(((losses + (losses.square() + 8 * losses).sqrt()) / 4).sqrt())
    method.total(losses).backward()
    assert method.sigma.grad.abs().max() < 1e-5


def test_is_positive_where_the_first_form_is_not(method, make_tasks, make_weighting):
    other = make_weighting("uncertainty_untyped", make_tasks(["age", "sick"]))
    with torch.no_grad():
        method.sigma.fill_(0.1)
        next(other.parameters()).fill_(2 * math.log(0.1))
    losses = torch.tensor([0.01, 0.01])
    assert method.total(losses) > 0 > other.total(losses)
