"""Weights by hand."""

from __future__ import annotations

import pytest
import torch

from mtl.weighting.constant import Constant


def test_weights_go_by_name(tasks, linear_step):
    """20 * age + 1 * sick + 0.5 * species, whatever the order in which they are given."""
    method = Constant(tasks, {"species": 0.5, "age": 20})
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 4.0]])
    step = linear_step(rows, [1.0, 2.0, 4.0])
    assert method.backward(step).tolist() == [20.0, 1.0, 0.5]
    assert step.shared[0].grad.tolist() == [20.0 + 0.5 * 2, 1.0 + 0.5 * 4]
    assert method.total(torch.tensor([1.0, 2.0, 4.0])).item() == 20 + 2 + 2


def test_inactive_task_leaves_the_others_their_own_weights(tasks, linear_step):
    method = Constant(tasks, {"age": 3, "sick": 5, "species": 7})
    step = linear_step(torch.eye(3), active=[True, False, True])
    assert method.backward(step).tolist() == [3.0, 0.0, 7.0]


def test_yaml_takes_weights_from_the_command_line(tasks, make_weighting, linear_step):
    method = make_weighting("constant", tasks, "weighting.method.weights={age: 20}")
    assert method.backward(linear_step(torch.eye(3))).tolist() == [20.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (
            {"gender": 1},
            r"weights\.gender=1: there is no task 'gender' in this run; its tasks are age, sick, species\.",
        ),
        ({"age": -1}, r"weights\.age=-1: expected a finite number of at least 0\."),
        ({"age": float("nan")}, r"weights\.age=nan: expected a finite number"),
        ({"age": float("inf")}, r"weights\.age=inf: expected a finite number"),
        ({"age": "big"}, r"weights\.age=big: expected a finite number"),
        ({"age": True}, r"weights\.age=True: expected a finite number"),
    ],
)
def test_refuses(tasks, weights, sentence):
    with pytest.raises(ValueError, match=sentence):
        Constant(tasks, weights)


def test_constants_move_and_are_saved_with_the_module(tasks):
    method = Constant(tasks, {"age": 20})
    assert method.state_dict()["constants"].tolist() == [20.0, 1.0, 1.0]
    assert method.to("meta").constants.device.type == "meta"
