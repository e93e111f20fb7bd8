"""MoCo: one step by hand, and the projection on the simplex."""

from __future__ import annotations

import math

import pytest
import torch

from mtl.weighting.control import Control
from mtl.weighting.simplex import on_simplex

ROWS = torch.diag(torch.tensor([1.0, 2.0]))


def test_by_hand(make_tasks, make_weighting, linear_step):
    """y = g / 2 = (1/2) e1, e2; Y Y^T = diag(1/4, 1); lambda = (1/2, 1/2) - (1/8, 1/2) = (3/8, 0), projected + 5/16.

    Update 11/16 y1 + 5/16 y2 = (11/32, 5/16), which is (11/32, 5/32) of this step's gradients. LibMTL's softmax would
    make (0.59, 0.41) of (3/8, 0).
    """
    method = make_weighting("moco", make_tasks(["age", "sick"]), "weighting.method.gamma=1")
    step = linear_step(ROWS)
    weights = method.backward(step)
    assert method.shares.tolist() == pytest.approx([11 / 16, 5 / 16])
    assert step.shared[0].grad.tolist() == pytest.approx([11 / 32, 5 / 16])
    assert weights.tolist() == pytest.approx([11 / 32, 5 / 32])
    assert method.residual.item() == pytest.approx(0, abs=1e-6)


def test_gradients_are_averaged(make_tasks, make_weighting, linear_step):
    """beta = 1/4, lambda fixed: 3/4 of a quarter of the first gradient, a quarter of the second; outside their span."""
    options = ("weighting.method.beta=0.25", "weighting.method.gamma=0")
    method = make_weighting("moco", make_tasks(["age"]), *options)
    method.backward(linear_step(torch.tensor([[4.0, 0.0]])))
    step = linear_step(torch.tensor([[0.0, 4.0]]))
    weights = method.backward(step)
    assert step.shared[0].grad.tolist() == pytest.approx([0.75, 1.0])
    assert weights.tolist() == pytest.approx([0.25])
    assert method.residual.item() == pytest.approx(0.6)  # 0.75 / norm(0.75, 1)


def test_rho_pulls_towards_equal_shares(make_tasks, make_weighting, linear_step):
    found = []
    for rho in (0, 1):
        options = ("weighting.method.gamma=0.5", f"weighting.method.rho={rho}")
        method = make_weighting("moco", make_tasks(["age", "sick"]), *options)
        for _ in range(10):
            method.backward(linear_step(ROWS))
        found.append(method.shares.tolist())
    assert found[0][0] > found[1][0] > 0.5 > found[1][1] > found[0][1]


def test_goes_to_the_shortest_combination(make_tasks, make_weighting, linear_step):
    """Constant gradients of lengths 1 and 2: 4/5 and 1/5, as MGDA has it."""
    method = make_weighting("moco", make_tasks(["age", "sick"]))
    for _ in range(200):
        weights = method.backward(linear_step(ROWS))
    assert weights.tolist() == pytest.approx([0.8, 0.2], abs=1e-3)


def test_inactive_tasks_keep_their_share(tasks, make_weighting, linear_step):
    method = make_weighting("moco", tasks)
    rows = torch.diag(torch.tensor([1.0, 2.0, 3.0]))
    method.backward(linear_step(rows))
    share, average = method.shares[1].item(), method.tracked[1].clone()
    method.backward(linear_step(rows, active=[True, False, True]))
    assert method.shares[1].item() == share
    assert torch.equal(method.tracked[1], average)
    assert method.shares.sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_projection(number):
    """On the simplex, and no point of it is nearer: (v - p).(q - p) <= 0 for its corners q."""
    for _ in range(20):
        point = 2 * torch.randn(number, dtype=torch.float64)
        found = on_simplex(point)
        assert found.sum().item() == pytest.approx(1.0)
        assert found.min() >= 0
        assert ((torch.eye(number, dtype=torch.float64) - found) @ (point - found)).max() <= 1e-12


def test_projection_of_large_and_of_unknown_numbers():
    """In float32 too, where 1 is nothing beside 1e8; what is not a number stays so."""
    assert on_simplex(torch.tensor([-7e8, 3e8, -9e8])).tolist() == [0.0, 1.0, 0.0]
    assert on_simplex(torch.tensor([math.nan, 1.0, 2.0])).isnan().all()


def test_representation_is_refused(tasks, make_weighting):
    with pytest.raises(ValueError, match=r"control\.features=representation: MoCo averages gradients over steps"):
        make_weighting("moco", tasks).compose(Control(features="representation"), None)


@pytest.mark.parametrize(("key", "value"), [("beta", 0), ("beta", 2), ("gamma", -1), ("rho", -1)])
def test_wrong_numbers(tasks, make_weighting, key, value):
    with pytest.raises(ValueError, match=rf"weighting\.method\.{key}={value}: expected"):
        make_weighting("moco", tasks, f"weighting.method.{key}={value}")
