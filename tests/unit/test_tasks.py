"""Tasks: transforms, predictions, probabilities, and what the builder refuses."""

from __future__ import annotations

import math

import pytest
import torch

from mtl.tasks import LogSigmoid, Raw, build_tasks

SPECS = {
    "age": {"kind": "regression", "low": 1, "high": 116},
    "sick": {"kind": "binary", "classes": ["healthy", "sick"]},
}
TARGET = {"transform": "log_sigmoid", "loss": "mse"}
ALL = torch.ones(2, dtype=torch.bool)


def test_order_names_kinds(make_tasks):
    tasks = make_tasks(["species", "age"])
    assert [task.name for task in tasks] == ["species", "age"]
    assert [(task.kind, task.width, task.low, task.high) for task in tasks] == [
        ("multiclass", 5, 0, 4),
        ("regression", 1, 1, 116),
    ]


@pytest.mark.parametrize(("loss", "likelihood"), [("mse", "gaussian"), ("l1", "laplace")])
def test_likelihood_follows_the_loss(make_tasks, loss, likelihood):
    assert [task.likelihood for task in make_tasks(loss=loss)] == [likelihood, "softmax", "softmax"]


def test_log_sigmoid_by_hand(make_tasks):
    (age,) = make_tasks(["age"])
    output = torch.tensor([[0.0], [2.0]])
    assert age.predict(output).tolist() == pytest.approx(
        [math.exp(4.75 / 2), math.exp(4.75 / (1 + math.exp(-2)))], rel=1e-5
    )
    wanted = ((0.5 - math.log(20) / 4.75) ** 2 + (1 / (1 + math.exp(-2)) - math.log(80) / 4.75) ** 2) / 2
    assert age.loss(output, torch.tensor([20.0, 80.0]), ALL).item() == pytest.approx(wanted, rel=1e-5)


def test_log_sigmoid_goes_there_and_back():
    years = torch.tensor([1.0, 18.0, 115.0])
    assert LogSigmoid().decode(LogSigmoid().encode(years)).tolist() == pytest.approx(years.tolist(), rel=1e-5)


def test_log_sigmoid_never_reaches_116():
    """Its limit is e^4.75 = 115.58 years; labels below one year count as one."""
    transform = LogSigmoid()
    assert transform.decode(transform.activate(torch.tensor(100.0))).item() == pytest.approx(115.58, abs=0.01)
    assert transform.encode(torch.tensor([-3.0, 0.0, 1.0])).tolist() == [0, 0, 0]


def test_raw_is_years(make_tasks):
    (age,) = make_tasks(["age"], transform="raw", loss="l1")
    output = torch.tensor([[30.0], [-2.0]])
    assert age.predict(output).tolist() == [30.0, -2.0]
    assert age.loss(output, torch.tensor([20.0, 1.0]), ALL).item() == 6.5
    assert Raw().decode(Raw().activate(Raw().encode(output))) is output


@pytest.mark.parametrize("binary_outputs", [1, 2])
def test_binary_with_one_logit_or_two(make_tasks, binary_outputs):
    """Two logits (0, z) are one logit z: the same loss, prediction and probabilities."""
    (sick,) = make_tasks(["sick"], binary_outputs=binary_outputs)
    logits = torch.tensor([[1.5], [-0.5]])
    output = logits if binary_outputs == 1 else torch.cat([torch.zeros(2, 1), logits], 1)
    assert sick.width == binary_outputs
    assert sick.predict(output).tolist() == [1.0, 0.0]
    chance = [1 / (1 + math.exp(-1.5)), 1 / (1 + math.exp(0.5))]
    assert sick.probabilities(output)[:, 1].tolist() == pytest.approx(chance)
    assert sick.probabilities(output).sum(1).tolist() == pytest.approx([1, 1])
    wanted = -(math.log(chance[0]) + math.log(chance[1])) / 2
    assert sick.loss(output, torch.tensor([1.0, 1.0]), ALL).item() == pytest.approx(wanted)


def test_multiclass(make_tasks):
    (species,) = make_tasks(["species"])
    output = torch.tensor([[0.0, 3.0, 1.0, 0.0, 0.0]])
    assert species.predict(output).tolist() == [1.0]
    assert species.probabilities(output)[0].tolist() == pytest.approx(
        (output[0].exp() / output[0].exp().sum()).tolist()
    )


def test_a_regression_has_no_probabilities(make_tasks):
    (age,) = make_tasks(["age"])
    assert age.probabilities(torch.zeros(7, 1)).shape == (7, 0)


@pytest.mark.parametrize("task", range(3))
def test_sums_take_what_predict_gives(tasks, task):
    """A perfect prediction in each task's own form."""
    task = tasks[task]
    target = torch.tensor([1.0, 1.0])
    output = torch.full((2, task.width), -60.0)
    output[:, 1 if task.width > 1 else 0] = -60.0 if task.kind == "regression" else 60.0
    sums = task.sums()
    sums.update(task.predict(output), target, ALL)
    assert sums.compute() == pytest.approx(
        {"mae_years": 0, "rmse_log": 0} if task.name == "age" else dict.fromkeys(sums.compute(), 1.0)
    )


@pytest.mark.parametrize(
    ("names", "target", "binary_outputs", "sentence"),
    [
        (["gender"], TARGET, 1, r"no task 'gender'; it has age, sick\."),
        ([], TARGET, 1, r"tasks=\[\] trains nothing; name at least one of age, sick\."),
        (["age", "age"], TARGET, 1, r"tasks=\[age,age\] names a task twice"),
        (
            ["age"],
            {"transform": "log", "loss": "mse"},
            1,
            r"age_target\.transform=log: expected one of raw, log_sigmoid\.",
        ),
        (["age"], {"transform": "raw", "loss": "l2"}, 1, r"age_target\.loss=l2: expected one of l1, mse\."),
        (["sick"], TARGET, 3, r"head\.binary_outputs=3: expected 1 \(one logit\) or 2 \(two logits\)\."),
    ],
)
def test_refuses(names, target, binary_outputs, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_tasks(names, SPECS, target, binary_outputs)
