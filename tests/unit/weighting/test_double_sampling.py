"""MoDo and SDMGrad: by hand, against torchjd's classes, and on batches whose gradients differ."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torchjd.aggregation import MoDoWeighting, SDMGradWeighting

from mtl.weighting.control import Control

TWO = torch.tensor([[1.0, 0.0], [0.0, 2.0]])


def with_batches(linear_step, rows, *batches, active=None):
    """A step of gradients `rows` [K, n] whose further batches have the gradients `batches`, in this order."""
    step, source = linear_step(rows, active=active), iter(batches)
    theta = step.shared[0]

    def forward(batch):
        assert batch == "train"
        return [row @ theta for row in next(source)]

    return replace(step, forward=forward)


def test_modo_by_hand(make_tasks, make_weighting, linear_step):
    """A = J1 J2^T = [[3, 0], [2, 2]]; lambda = (1/2, 1/2) - (3/2, 2) / 10 - (1/2, 1/2) / 100, and + s to a sum of 1.

    (0.345, 0.295) + 0.18 = (0.525, 0.475). The step's own gradients have no part in it.
    """
    method = make_weighting("modo", make_tasks(["age", "sick"]))
    first, second = torch.tensor([[3.0, 0.0], [2.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    step = with_batches(linear_step, 5 * TWO, first, second)
    assert method.backward(step).tolist() == pytest.approx([0.525, 0.475])
    assert step.shared[0].grad.tolist() == pytest.approx([5 * 0.525, 10 * 0.475])


def test_sdmgrad_by_hand(make_tasks, make_weighting, linear_step):
    """One step: scale ((1 + 2) / 2)^2; A (w + 0.3 v) = 0.65 (1, 4) / 2.25; projected: 1/2 + 0.1 * 0.65 * 3 / 4.5.

    The weights are (w + 0.15) / 1.3.
    """
    options = [f"weighting.method.{key}" for key in ("steps=1", "lr=0.1", "preference=0.3")]
    method = make_weighting("sdmgrad", make_tasks(["age", "sick"]), *options)
    found = method.backward(with_batches(linear_step, TWO, TWO, TWO)).tolist()
    share = 0.5 + 0.1 * 0.65 * 3 / 4.5
    assert found == pytest.approx([(share + 0.15) / 1.3, (1 - share + 0.15) / 1.3])


@pytest.mark.parametrize(
    ("name", "theirs", "options"),
    [
        ("modo", MoDoWeighting(0.1, 0.1), []),
        ("modo", MoDoWeighting(0.7, 0.0), ["gamma=0.7", "rho=0"]),
        ("sdmgrad", SDMGradWeighting(), []),
        ("sdmgrad", SDMGradWeighting(0.5, 0.9, 7, 2.0), ["lr=0.5", "momentum=0.9", "steps=7", "preference=2"]),
    ],
)
def test_as_torchjd(name, theirs, options, tasks, make_weighting, linear_step):
    """Over steps, on batches that disagree so much that A is neither symmetric nor of positive diagonal."""
    method = make_weighting(name, tasks, *(f"weighting.method.{option}" for option in options))
    generator = torch.Generator().manual_seed(0)
    for _ in range(8):
        own, first, second = torch.randn(3, 3, 6, generator=generator)
        second = first + second
        found = method.backward(with_batches(linear_step, own, first, second))
        torch.testing.assert_close(found, theirs(first @ second.T), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["modo", "sdmgrad"])
def test_constant_gradients_lead_to_the_shortest_combination(name, make_tasks, make_weighting, linear_step):
    """Without a pull elsewhere: lengths 1 and 2 at a right angle have 4/5 and 1/5, as MGDA has it."""
    values = {"modo": ["rho=0"], "sdmgrad": ["preference=0", "lr=0.1"]}[name]
    options = [f"weighting.method.{value}" for value in values]
    method = make_weighting(name, make_tasks(["age", "sick"]), *options)
    for _ in range(100):
        found = method.backward(with_batches(linear_step, TWO, TWO, TWO))
    assert found.tolist() == pytest.approx([0.8, 0.2], abs=1e-3)


def test_a_large_preference_is_the_mean(make_tasks, make_weighting, linear_step):
    method = make_weighting("sdmgrad", make_tasks(["age", "sick"]), "weighting.method.preference=1e6")
    assert method.backward(with_batches(linear_step, TWO, TWO, TWO)).tolist() == pytest.approx([0.5, 0.5], abs=1e-5)


def test_inactive_tasks_keep_their_share(tasks, make_weighting, linear_step):
    method = make_weighting("modo", tasks)
    rows = torch.diag(torch.tensor([1.0, 2.0, 3.0]))
    weights = method.backward(with_batches(linear_step, rows, rows, rows, active=[True, True, False]))
    assert weights[2] == 0
    assert weights.sum().item() == pytest.approx(1)
    assert method.shares[2].item() == pytest.approx(1 / 3)
    assert method.shares.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("name", ["modo", "sdmgrad"])
def test_gradients_of_the_representation_are_refused(name, tasks, make_weighting):
    with pytest.raises(ValueError, match=r"control\.features=representation: .* multiplies gradients of two batches"):
        make_weighting(name, tasks).compose(Control(features="representation"), None)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("modo", "gamma=-1"),
        ("modo", "rho=-1"),
        ("sdmgrad", "preference=-1"),
        ("sdmgrad", "lr=0"),
        ("sdmgrad", "momentum=1"),
        ("sdmgrad", "steps=0"),
        ("sdmgrad", "steps=1.5"),
    ],
)
def test_wrong_values(name, option, tasks, make_weighting):
    with pytest.raises(ValueError, match=rf"weighting\.method\.{option}: expected a"):
        make_weighting(name, tasks, f"weighting.method.{option}")
