"""Dynamic task prioritization: the focal weight by hand, and what its performances are."""

from __future__ import annotations

import math

import pytest
import torch


def metrics(mae, sick, species):
    return {"age": {"mae_years": mae}, "sick": {"accuracy": sick}, "species": {"accuracy": species}}


def weights(method, linear_step):
    return method.backward(linear_step(torch.eye(len(method.tasks)))).tolist()


def test_by_hand(tasks, make_weighting, linear_step):
    """gamma = 2: -(1 - k)^2 log k; age 1 to 116: MAE 11.5 is k = 1 - 11.5 / (115 / 4) = 0.6."""
    method = make_weighting("dtp", tasks, "weighting.method.gamma=2", "weighting.method.alpha=0.25")
    assert weights(method, linear_step) == [1.0, 1.0, 1.0]
    method.end_epoch(torch.ones(3), metrics(11.5, 0.8, 0.5))
    wanted = [-((1 - k) ** 2) * math.log(k) for k in (0.6, 0.8, 0.5)]
    assert weights(method, linear_step) == pytest.approx(wanted)
    # A quarter of the newest: 0.75 * 0.8 + 0.25 * 0.4 = 0.7.
    method.end_epoch(torch.ones(3), metrics(11.5, 0.4, 0.5))
    wanted[1] = -(0.3**2) * math.log(0.7)
    assert weights(method, linear_step) == pytest.approx(wanted)


def test_no_label_all_epoch(tasks, make_weighting, linear_step):
    """The average stays; before there is one the weight is 1."""
    method = make_weighting("dtp", tasks, "weighting.method.alpha=1")
    method.end_epoch(torch.ones(3), metrics(None, 0.8, 0.5))
    assert weights(method, linear_step) == pytest.approx([1.0, -0.2 * math.log(0.8), -0.5 * math.log(0.5)])
    method.end_epoch(torch.ones(3), metrics(11.5, None, 0.5))
    assert weights(method, linear_step)[1] == pytest.approx(-0.2 * math.log(0.8))
    assert weights(method, linear_step)[0] == pytest.approx(-0.4 * math.log(0.6))


def test_perfect_and_hopeless_have_finite_weights(tasks, make_weighting, linear_step):
    """k within [0.01, 0.99]: a mean error of half the range or no hit at all, and no error at all."""
    method = make_weighting("dtp", tasks)
    method.end_epoch(torch.ones(3), metrics(60.0, 0.0, 1.0))
    high, low = -0.99 * math.log(0.01), -0.01 * math.log(0.99)
    assert weights(method, linear_step) == pytest.approx([high, high, low])


@pytest.mark.parametrize(("key", "value"), [("gamma", -1), ("alpha", 0), ("alpha", 1.5)])
def test_wrong_numbers(tasks, make_weighting, key, value):
    with pytest.raises(ValueError, match=rf"weighting\.method\.{key}={value}: expected a number"):
        make_weighting("dtp", tasks, f"weighting.method.{key}={value}")
