"""Evaluation over ragged batches equals one batch; the trivial guess by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtl.data.loader import Loader
from mtl.evaluate import evaluate, trivial

CPU = torch.device("cpu")


@pytest.fixture
def labels():
    number = torch.arange(23).float()
    labels = torch.stack([number + 1, number % 2, number % 5], 1)
    labels[::3, 1] = float("nan")
    return labels


@pytest.fixture
def make_loader(labels, tasks):
    images = np.random.default_rng(0).integers(0, 256, (23, 12, 12, 3), dtype=np.uint8)
    return lambda batch_size: Loader(images, labels, np.arange(23), tasks, batch_size, CPU)


def test_ragged_batches_are_one_batch(bench, make_loader, labels):
    one, many = (evaluate(bench.model, bench.tasks, make_loader(size), CPU) for size in (64, 4))
    for name, metrics in one.metrics.items():
        assert many.metrics[name] == pytest.approx(metrics, rel=1e-5)
    assert many.losses == pytest.approx(one.losses, rel=1e-5)
    assert torch.equal(many.indices, torch.arange(23))
    for k, task in enumerate(bench.tasks):
        torch.testing.assert_close(many.predictions[k], one.predictions[k], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(many.probabilities[k], one.probabilities[k], rtol=1e-4, atol=1e-6)
        assert many.probabilities[k].shape == (23, len(task.classes))


def test_losses_and_metrics_by_hand(bench, make_loader, labels):
    evaluation = evaluate(bench.model, bench.tasks, make_loader(5), CPU)
    known = ~labels[:, 1].isnan()
    chances = evaluation.probabilities[1][known, 1].double()
    truth = labels[known, 1].double()
    assert evaluation.losses["sick"] == pytest.approx(
        -(truth * chances.log() + (1 - truth) * (1 - chances).log()).mean().item(), rel=1e-4
    )
    assert evaluation.metrics["sick"]["accuracy"] == ((chances > 0.5).double() == truth).double().mean().item()
    assert evaluation.metrics["age"]["mae_years"] == pytest.approx(
        (evaluation.predictions[0] - labels[:, 0]).abs().mean().item(), rel=1e-5
    )
    assert evaluation.metrics["species"]["accuracy"] == pytest.approx(
        (evaluation.predictions[2] == labels[:, 2]).double().mean().item()
    )


def test_evaluation_changes_nothing(bench, make_loader):
    """Neither parameters nor BatchNorm statistics, and it needs no gradients."""
    bench.model.train()
    before = {name: value.clone() for name, value in bench.model.state_dict().items()}
    one = evaluate(bench.model, bench.tasks, make_loader(4), CPU)
    assert all(torch.equal(value, before[name]) for name, value in bench.model.state_dict().items())
    assert not bench.model.training
    assert not any(part.requires_grad for part in one.predictions + one.probabilities)
    two = evaluate(bench.model, bench.tasks, make_loader(4), CPU)
    assert two.metrics == one.metrics


def test_a_task_without_labels_is_undefined(bench, make_loader, labels):
    labels[:, 2] = float("nan")
    evaluation = evaluate(bench.model, bench.tasks, make_loader(4), CPU)
    assert evaluation.losses["species"] is None
    assert set(evaluation.metrics["species"].values()) == {None}
    assert len(evaluation.predictions[2]) == 23  # predicted all the same


def test_amp_gives_float32(bench, make_loader):
    evaluation = evaluate(bench.model, bench.tasks, make_loader(4), CPU, amp=True)
    assert {part.dtype for part in evaluation.predictions + evaluation.probabilities} == {torch.float32}
    assert evaluation.losses == pytest.approx(evaluate(bench.model, bench.tasks, make_loader(4), CPU).losses, rel=0.05)


def test_trivial_by_hand(tasks):
    """Training ages 10, 20, 90: median 20; healthy 2 of 3; species 1 twice. Missing ones do not count."""
    nan = float("nan")
    train = torch.tensor([[10.0, 0, 1], [20, 0, 4], [90, 1, nan], [nan, nan, 1]])
    other = torch.tensor([[21.0, 1, 1], [26, 0, 1], [nan, 1, 2], [20, nan, nan]])
    guess = trivial(tasks, train, other)
    assert guess["age"]["mae_years"] == pytest.approx((1 + 6 + 0) / 3)
    assert guess["sick"]["accuracy"] == pytest.approx(1 / 3)
    assert guess["species"]["accuracy"] == pytest.approx(2 / 3)


def test_trivial_is_the_median_of_an_even_number(make_tasks):
    """Ages 10 and 30: the median is 20 (NumPy's, scikit-learn's DummyRegressor), not the lower of the two."""
    guess = trivial(make_tasks(["age"]), torch.tensor([[10.0], [30.0]]), torch.tensor([[20.0]]))
    assert guess["age"]["mae_years"] == 0


def test_trivial_needs_a_label(tasks):
    train = torch.tensor([[10.0, float("nan"), 1]])
    with pytest.raises(ValueError, match=r"no training picture has a label of task 'sick'; leave it out of tasks="):
        trivial(tasks, train, train)
