"""Impartial learning, the loss half, is untyped uncertainty times two."""

from __future__ import annotations

import math

import pytest
import torch


def test_by_hand(make_tasks, make_weighting, linear_step):
    """s = (0, log 3), L = (1, 2): sum of e^s L - s = 1 + 6 - log 3; d/dL = e^s; d/ds = e^s L - 1."""
    method = make_weighting("imtl_l", make_tasks(["age", "sick"]))
    (parameter,) = method.parameters()
    with torch.no_grad():
        parameter[1] = math.log(3)
    assert method.total(torch.tensor([1.0, 2.0])).item() == pytest.approx(7 - math.log(3))
    assert method.backward(linear_step(torch.eye(2), [1.0, 2.0])).tolist() == pytest.approx([1.0, 3.0])
    assert parameter.grad.tolist() == pytest.approx([0.0, 5.0])


def test_is_twice_untyped_uncertainty(tasks, make_weighting, linear_step):
    """At s = -s', through ten steps of gradient descent at half the learning rate; the parameters are mirrored."""
    one, two = (make_weighting(name, tasks) for name in ("imtl_l", "uncertainty_untyped"))
    optimizers = [torch.optim.SGD(one.parameters(), 0.05), torch.optim.SGD(two.parameters(), 0.1)]
    for n in range(10):
        values = [0.2 + n / 10, 0.7, 1.6]
        weights = []
        for method, optimizer in zip((one, two), optimizers, strict=True):
            optimizer.zero_grad()
            weights.append(method.backward(linear_step(torch.eye(3), values)))
            optimizer.step()
        torch.testing.assert_close(weights[0], 2 * weights[1])
    torch.testing.assert_close(next(one.parameters()), -next(two.parameters()))
