"""The optimizer that some methods keep for themselves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mtl.weighting.inner import Learnt

ALL = slice(None)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_torchs_adam(dtype, weight_decay):
    learnt = Learnt(3, 0.5, 0.025, weight_decay).to(dtype)
    parameter = nn.Parameter(torch.full((3,), 0.5, dtype=dtype))
    optimizer = torch.optim.Adam([parameter], 0.025, weight_decay=weight_decay)
    for _ in range(50):
        parameter.grad = torch.randn(3, dtype=dtype)
        learnt.step(ALL, parameter.grad.clone())
        optimizer.step()
    torch.testing.assert_close(learnt.value, parameter.data)


def test_plain_gradient_descent():
    learnt = Learnt(2, 1.0, 0.1, rule="sgd")
    learnt.step(ALL, torch.tensor([1.0, -3.0]))
    assert learnt.value.tolist() == pytest.approx([0.9, 1.3])


def test_each_number_has_its_own_history():
    """Away for ten steps, a number goes on as if they had not been; the others as if it had never been away."""
    some, one, others = Learnt(3, 0.0, 0.025), Learnt(1, 0.0, 0.025), Learnt(2, 0.0, 0.025)
    for n in range(20):
        gradient = torch.randn(3)
        away = 5 <= n < 15
        before = some.value[1].item()
        some.step([0, 2] if away else ALL, gradient[[0, 2]] if away else gradient)
        others.step(ALL, gradient[[0, 2]])
        if away:
            assert some.value[1].item() == before
        else:
            one.step(ALL, gradient[[1]])
    assert some.value[[0, 2]].tolist() == others.value.tolist()
    assert some.value[1] == one.value


def test_no_optimizer_finds_it_and_the_state_is_whole():
    learnt, other = Learnt(2, 1.0, 0.1), Learnt(2, 1.0, 0.1)
    assert list(learnt.parameters()) == []
    for _ in range(3):
        learnt.step(ALL, torch.tensor([1.0, -3.0]))
    other.load_state_dict(learnt.state_dict())
    for each in (learnt, other):
        each.step(ALL, torch.tensor([0.5, 0.5]))
    assert torch.equal(learnt.value, other.value)
