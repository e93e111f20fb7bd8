"""Scaled loss approximate weighting by hand."""

from __future__ import annotations

import pytest
import torch


def train(method, linear_step, values, active=None):
    step = linear_step(torch.eye(len(values)), values, active)
    weights = method.backward(step).tolist()
    method.after_step(step)
    return weights


def test_by_hand(make_tasks, make_weighting, linear_step):
    """Losses (1, 4), (3, 8): E = 2, 6, E[L^2] = 5, 40, s = 1, 2: weights 2 (1, 1/2) / (3/2)."""
    method = make_weighting("slaw", make_tasks(["age", "sick"]))
    assert train(method, linear_step, [1.0, 4.0]) == [1.0, 1.0]
    assert train(method, linear_step, [3.0, 8.0]) == pytest.approx([4 / 3, 2 / 3])
    # Still even means: (1, 3, 8) and (4, 8, 6): E = 4, 6, E[L^2] = 74/3, 116/3, s^2 = 26/3, 8/3.
    first, second = (26 / 3) ** -0.5, (8 / 3) ** -0.5
    wanted = [2 * first / (first + second), 2 * second / (first + second)]
    assert train(method, linear_step, [8.0, 6.0]) == pytest.approx(wanted)


def test_averages_become_exponential(make_tasks, make_weighting, linear_step):
    """beta = 1/2: the first two steps evenly, then half and half: E = 3, E[L^2] = 10.5; E = 6, E[L^2] = 38."""
    method = make_weighting("slaw", make_tasks(["age", "sick"]), "weighting.method.beta=0.5")
    for values in ([1.0, 4.0], [3.0, 8.0]):
        train(method, linear_step, values)
    first, second = 1.5**-0.5, 2**-0.5
    wanted = [2 * first / (first + second), 2 * second / (first + second)]
    assert train(method, linear_step, [4.0, 6.0]) == pytest.approx(wanted)


def test_the_unit_of_a_loss_does_not_matter(make_tasks, make_weighting, linear_step):
    """Weight times loss: a hundredfold loss has a hundredth of the weight, next to the other's."""
    one, other = (make_weighting("slaw", make_tasks(["age", "sick"])) for _ in range(2))
    for a, b in ([1.0, 4.0], [3.0, 8.0], [2.5, 5.0]):
        plain, scaled = train(one, linear_step, [a, b]), train(other, linear_step, [100 * a, b])
    assert scaled[1] / scaled[0] == pytest.approx(100 * plain[1] / plain[0], rel=1e-5)


def test_losses_that_stand_still(tasks, make_weighting, linear_step):
    """A spread of 0 counts as 1e-5, whatever is left of the difference of the two averages."""
    method = make_weighting("slaw", tasks)
    for _ in range(3):
        assert train(method, linear_step, [0.1, 1.0, 500.0]) == pytest.approx([1.0, 1.0, 1.0])


def test_first_label_of_a_task(tasks, make_weighting, linear_step):
    """A task without a spread makes the weights 1; the others go on as if alone when it is away again."""
    method, alone = make_weighting("slaw", tasks), make_weighting("slaw", tasks[:2])
    for values in ([1.0, 4.0, 0.0], [3.0, 8.0, 0.0]):
        assert train(method, linear_step, values, [True, True, False]) == pytest.approx(
            [*train(alone, linear_step, values[:2]), 0.0]
        )
    assert train(method, linear_step, [2.0, 2.0, 2.0]) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("beta", [0, 1])
def test_beta_must_be_a_share(tasks, make_weighting, beta):
    with pytest.raises(ValueError, match=rf"weighting\.method\.beta={beta}: expected a number between 0 and 1"):
        make_weighting("slaw", tasks, f"weighting.method.beta={beta}")
