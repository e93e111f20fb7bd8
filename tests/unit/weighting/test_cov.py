"""Coefficient of variation weighting by hand."""

from __future__ import annotations

import pytest
import torch


def train(method, linear_step, values, active=None):
    step = linear_step(torch.eye(len(values)), values, active)
    weights = method.backward(step).tolist()
    method.after_step(step)
    return weights


def test_by_hand(make_tasks, make_weighting, linear_step):
    """Losses (1, 4), (3, 8). Ratios to the mean before: 1, 3 and 1, 2; mean 2 and 3/2; std 1 and 1/2; 1/2 : 1/3."""
    method = make_weighting("cov", make_tasks(["age", "sick"]))
    assert train(method, linear_step, [1.0, 4.0]) == [0.5, 0.5]
    assert train(method, linear_step, [3.0, 8.0]) == [0.5, 0.5]
    # Third step: (6/2, 9/6) = (3, 3/2) come into the ratios only after it.
    assert train(method, linear_step, [6.0, 9.0]) == pytest.approx([0.6, 0.4], abs=1e-6)
    # Ratios 1, 3, 3: mean 7/3, variance 8/9; 1, 2, 3/2: mean 3/2, variance 1/6.
    first, second = (8 / 9) ** 0.5 / (7 / 3), (1 / 6) ** 0.5 / 1.5
    assert train(method, linear_step, [1.0, 1.0]) == pytest.approx(
        [first / (first + second), second / (first + second)], abs=1e-6
    )


def test_a_task_counts_its_own_steps(tasks, make_weighting, linear_step):
    """The third task comes later: equal weights until it has two steps behind it; the others' are as if alone."""
    method, alone = make_weighting("cov", tasks), make_weighting("cov", tasks[:2])
    for values in ([1.0, 4.0, 0.0], [3.0, 8.0, 0.0], [6.0, 9.0, 0.0]):
        weights = train(method, linear_step, values, [True, True, False])
        assert weights == pytest.approx([*train(alone, linear_step, values[:2]), 0.0])
    assert train(method, linear_step, [1.0, 1.0, 1.0]) == pytest.approx([1 / 3] * 3)


def test_constant_losses_are_equal(tasks, make_weighting, linear_step):
    """No variation at all: the 1e-8 under the root, no division of 0 by 0."""
    method = make_weighting("cov", tasks)
    for _ in range(4):
        assert train(method, linear_step, [0.2, 1.0, 5.0]) == pytest.approx([1 / 3] * 3)


def test_decay_must_be_a_share(tasks, make_weighting):
    with pytest.raises(ValueError, match=r"weighting\.method\.decay=1: expected null or a number between 0 and 1"):
        make_weighting("cov", tasks, "weighting.method.decay=1")
