"""Dynamic weight average: equation 7 by hand, and its history."""

from __future__ import annotations

import math

import pytest
import torch

from mtl.weighting.dwa import DWA


def weights(method, linear_step, active=None):
    return method.backward(linear_step(torch.eye(len(method.tasks)), active=active)).tolist()


def test_by_hand(make_tasks, linear_step):
    """Epoch means (4, 1) then (2, 1): r = (1/2, 1), T = 2: w = 2 softmax(1/4, 1/2)."""
    method = DWA(make_tasks(["age", "sick"]), temperature=2.0)
    assert weights(method, linear_step) == [1.0, 1.0]
    method.end_epoch(torch.tensor([4.0, 1.0]), {})
    assert weights(method, linear_step) == [1.0, 1.0]
    method.end_epoch(torch.tensor([2.0, 1.0]), {})
    first = 2 * math.exp(0.25) / (math.exp(0.25) + math.exp(0.5))
    assert weights(method, linear_step) == pytest.approx([first, 2 - first])
    # The third mean pushes the first one out: r = (3/2, 1).
    method.end_epoch(torch.tensor([3.0, 1.0]), {})
    first = 2 * math.exp(0.75) / (math.exp(0.75) + math.exp(0.5))
    assert weights(method, linear_step) == pytest.approx([first, 2 - first])


def test_temperature_divides_the_rates(make_tasks, linear_step):
    method = DWA(make_tasks(["age", "sick"]), temperature=0.5)
    for mean in ([4.0, 1.0], [2.0, 1.0]):
        method.end_epoch(torch.tensor(mean), {})
    first = 2 * math.exp(1) / (math.exp(1) + math.exp(2))
    assert weights(method, linear_step) == pytest.approx([first, 2 - first])


def test_active_tasks_share_their_own_number(tasks, linear_step):
    """sick has no label: age and species as if they were alone, r = (1/2, 1)."""
    method = DWA(tasks, temperature=2.0)
    for mean in ([4.0, 9.0, 1.0], [2.0, 90.0, 1.0]):
        method.end_epoch(torch.tensor(mean), {})
    first = 2 * math.exp(0.25) / (math.exp(0.25) + math.exp(0.5))
    assert weights(method, linear_step, [True, False, True]) == pytest.approx([first, 0, 2 - first])


def test_steps_do_not_move_the_history(tasks, linear_step):
    method = DWA(tasks, temperature=2.0)
    method.end_epoch(torch.tensor([4.0, 1.0, 1.0]), {})
    before = [list(row) for row in method.history]
    for _ in range(3):
        weights(method, linear_step)
    assert method.history == before


def test_an_epoch_without_labels_keeps_the_last_mean(make_tasks, linear_step):
    """sick: 1, nothing, 3 gives r = 3/1; age: 4, 2, 2 gives r = 1."""
    method = DWA(make_tasks(["age", "sick"]), temperature=1.0)
    for mean in ([4.0, 1.0], [2.0, math.nan], [2.0, 3.0]):
        method.end_epoch(torch.tensor(mean), {})
    second = 2 * math.exp(3) / (math.exp(1) + math.exp(3))
    assert weights(method, linear_step) == pytest.approx([2 - second, second])


def test_a_task_that_comes_late_gets_equal_weights_until_it_has_two_means(make_tasks, linear_step):
    method = DWA(make_tasks(["age", "sick"]), temperature=1.0)
    for mean in ([4.0, math.nan], [2.0, math.nan], [2.0, 3.0]):
        method.end_epoch(torch.tensor(mean), {})
        assert weights(method, linear_step) == [1.0, 1.0]
    method.end_epoch(torch.tensor([2.0, 6.0]), {})
    assert weights(method, linear_step) != [1.0, 1.0]


def test_history_is_in_the_state(tasks, linear_step):
    method, other = DWA(tasks, temperature=2.0), DWA(tasks, temperature=2.0)
    for mean in ([4.0, 1.0, 0.1], [2.0, 1.0, 0.3]):
        method.end_epoch(torch.tensor(mean, dtype=torch.float64), {})
    other.load_state_dict(method.state_dict())
    assert other.history == method.history
    assert weights(other, linear_step) == weights(method, linear_step)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_refuses_a_temperature(tasks, temperature):
    with pytest.raises(ValueError, match=r"weighting\.method\.temperature=.*expected a number above 0\."):
        DWA(tasks, temperature=temperature)


def test_a_window_moves_with_the_steps_of_its_task_and_is_saved(tasks, linear_step):
    """Losses 2, 4, 8 and 1, 1, 1, with sick absent in between: r = (8/4, 1, 1) for a window of one step."""
    method = DWA(tasks, 1.0, window=1)
    for value, active in ((2.0, True), (4.0, False), (4.0, True), (8.0, True)):
        found = method.backward(linear_step(torch.eye(3), [value if active else 4.0, 1.0, 1.0], [True, active, True]))
    assert method.counts == [4, 3, 4]
    assert method.recent.tolist() == [[4.0, 8.0], [1.0, 1.0], [1.0, 1.0]]
    wanted = (3 * torch.softmax(torch.tensor([2.0, 1.0, 1.0]), 0)).tolist()
    assert found.tolist() == pytest.approx(wanted)
    other = DWA(tasks, 1.0, window=1)
    other.load_state_dict(method.state_dict())
    step = linear_step(torch.eye(3), [1.0, 5.0, 0.3])
    assert torch.equal(method.backward(step), other.backward(linear_step(torch.eye(3), [1.0, 5.0, 0.3])))
    assert other.counts == [5, 4, 5]


@pytest.mark.parametrize("window", [0, 1.5, True])
def test_wrong_windows(tasks, window):
    with pytest.raises(ValueError, match=rf"weighting\.method\.window={window}: expected a whole number"):
        DWA(tasks, 1.0, window=window)
