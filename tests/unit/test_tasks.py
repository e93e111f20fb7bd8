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


@pytest.mark.parametrize(
    ("loss", "likelihood", "width"),
    [("mse", "gaussian", 1), ("l1", "laplace", 1), ("smooth_l1", "laplace", 1), ("nll", "learnt", 2)],
)
def test_likelihood_and_width_follow_the_loss(make_tasks, loss, likelihood, width):
    tasks = make_tasks(loss=loss)
    assert [task.likelihood for task in tasks] == [likelihood, "softmax", "softmax"]
    assert [task.width for task in tasks] == [width, 1, 5]


def test_beta_is_in_units_of_the_transformed_target(make_tasks):
    """sigmoid(0) = 0.5 and log(20) / 4.75: an error of 0.1307, above one beta and below the other."""
    error = abs(0.5 - math.log(20) / 4.75)
    for beta, wanted in [(0.03, error - 0.015), (0.5, error**2)]:
        (age,) = make_tasks(["age"], loss="smooth_l1", beta=beta)
        assert age.loss(torch.zeros(2, 1), torch.full((2,), 20.0), ALL).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("transform", "spread"), [("log_sigmoid", 0.2), ("raw", 30)])
def test_nll_transforms_the_mean_alone(make_tasks, transform, spread):
    """The prediction is that of the first output by itself; the log-variance enters the loss as it is."""
    wide, narrow = (make_tasks(["age"], transform=transform, loss=loss)[0] for loss in ("nll", "mse"))
    output, years = torch.tensor([[0.3, 1.7], [2.0, -4.0]]), torch.tensor([20.0, 80.0])
    torch.testing.assert_close(wide.predict(output), narrow.predict(output[:, :1]))
    assert wide.predict(output).shape == (2,)
    assert wide.probabilities(output).shape == (2, 0)
    squares = [narrow.loss(output[k : k + 1, :1], years[k : k + 1], ALL[:1]).item() for k in range(2)]
    values = [
        (square / spread**2 / math.exp(s) + s + 10) / 2
        for square, s in zip(squares, output[:, 1].tolist(), strict=True)
    ]
    assert wide.loss(output, years, ALL).item() == pytest.approx(sum(values) / 2, rel=1e-5)


@pytest.mark.parametrize("binary_outputs", [1, 2])
def test_label_smoothing_reaches_class_tasks_alone(make_tasks, binary_outputs):
    """Logits of 0 cost log C whatever the smoothing; a sure and right answer costs what its share says."""
    hard, soft = (make_tasks(binary_outputs=binary_outputs, label_smoothing=share) for share in (0.0, 0.2))
    target = torch.ones(2)
    for task, smoothed in zip(hard, soft, strict=True):
        output = torch.zeros(2, task.width)
        assert smoothed.loss(output, target, ALL).item() == pytest.approx(task.loss(output, target, ALL).item())
        output[:, min(1, task.width - 1)] = 20.0
        extra = smoothed.loss(output, target, ALL).item() - task.loss(output, target, ALL).item()
        wrong = 0.2 * (len(task.classes) - 1) / len(task.classes) if task.classes else 0
        assert extra == pytest.approx(20 * wrong, rel=1e-5)


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
        (
            ["age"],
            {"transform": "raw", "loss": "l2"},
            1,
            r"age_target\.loss=l2: expected one of l1, mse, smooth_l1, nll\.",
        ),
        (["sick"], TARGET, 3, r"head\.binary_outputs=3: expected 1 \(one logit\) or 2 \(two logits\)\."),
    ],
)
def test_refuses(names, target, binary_outputs, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_tasks(names, SPECS, target, binary_outputs, 0.0)
