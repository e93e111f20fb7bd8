"""FAMO: its weights and the step of its logits by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mtl.weighting.control import Control


def train(method, linear_step, before, after, active=None):
    step = replace(linear_step(torch.eye(len(before)), before, active), forward=lambda batch: list(torch.tensor(after)))
    weights = method.backward(step).tolist()
    method.after_step(step)
    return weights


def test_by_hand(make_tasks, make_weighting, linear_step):
    """z = (1/2, 1/2), losses (1, 4): z / L = (1/2, 1/8), over their sum: (0.8, 0.2).

    After the step (1/2, 4): delta = (log 2, 0), gradient z (delta - z.delta) = (log 2 / 4) (1, -1); Adam's first step
    is 0.025 against its sign. What fell least gets more.
    """
    method = make_weighting("famo", make_tasks(["age", "sick"]))
    assert train(method, linear_step, [1.0, 4.0], [0.5, 4.0]) == pytest.approx([0.8, 0.2])
    assert method.xi.value.tolist() == pytest.approx([-0.025, 0.025])


def test_weights_sum_to_one_and_the_bounds_are_taken_off(make_tasks, make_weighting, linear_step):
    """L - b = (1, 4) as above; a loss below its bound counts as its bound and takes nearly all."""
    method = make_weighting("famo", make_tasks(["age", "sick"]), "weighting.method.min_losses={age: 2}")
    assert train(method, linear_step, [3.0, 4.0], [3.0, 4.0]) == pytest.approx([0.8, 0.2])
    assert method.xi.value.tolist() == [0.0, 0.0]
    assert train(method, linear_step, [1.0, 4.0], [1.0, 4.0]) == pytest.approx([1.0, 0.0], abs=1e-6)


def test_inactive_tasks_take_no_part(tasks, make_weighting, linear_step):
    method, alone = make_weighting("famo", tasks), make_weighting("famo", tasks[:2])
    for n in range(5):
        before, after = [1.0, 4.0 - n, 0.0], [0.9, 4.0 - n, 0.0]
        weights = train(method, linear_step, before, after, [True, True, False])
        assert weights == pytest.approx([*train(alone, linear_step, before[:2], after[:2]), 0.0])
    assert method.xi.value.tolist() == pytest.approx([*alone.xi.value.tolist(), 0.0])
    assert method.xi.steps.tolist() == [5.0, 5.0, 0.0]


def test_is_outside_the_optimizer(tasks, make_weighting):
    assert list(make_weighting("famo", tasks).parameters()) == []


def test_scaled_losses_are_compared_with_scaled_losses(make_tasks, make_weighting, linear_step):
    """Under a prescale the losses after the step are multiplied with this step's factors, too."""
    tasks = make_tasks(["age", "sick"])
    method = make_weighting("famo", tasks)
    method.compose(Control(), make_weighting("constant", tasks, "weighting.method.weights={age: 50}"))
    train(method, linear_step, [1.0, 4.0], [1.0, 4.0])
    assert method.xi.value.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("key", ["lr", "weight_decay"])
def test_wrong_numbers(tasks, make_weighting, key):
    with pytest.raises(ValueError, match=rf"weighting\.method\.{key}=-1: expected a number of at least 0"):
        make_weighting("famo", tasks, f"weighting.method.{key}=-1")
