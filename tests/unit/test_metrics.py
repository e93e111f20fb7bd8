"""Streaming metrics against one big batch and against scikit-learn; skill and score by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn

from mtl.metrics import LOG_SCALE, METRICS, ClassSums, RegressionSums, score, skill

PIECES = [[37], [1] * 37, [5, 0, 20, 1, 11]]


def stream(sums, prediction, target, mask, pieces):
    for piece in zip(*(tensor.split(pieces) for tensor in (prediction, target, mask)), strict=True):
        sums.update(*piece)
    return sums.compute()


@pytest.fixture
def ages():
    rng = np.random.default_rng(0)
    target = torch.tensor(rng.integers(1, 117, 37), dtype=torch.float32)
    return target + torch.tensor(rng.normal(0, 8, 37), dtype=torch.float32).clamp(min=1 - target), target


def as_sklearn_has_it(target, prediction, num_classes):
    seen = sorted(set(target.tolist()) | set(prediction.tolist()))
    assert max(seen) < num_classes
    return {
        "accuracy": sklearn.accuracy_score(target, prediction),
        "balanced_accuracy": np.mean(
            sklearn.recall_score(target, prediction, labels=sorted(set(target.tolist())), average=None)
        ),
        "f1_macro": sklearn.f1_score(target, prediction, labels=seen, average="macro"),
    }


@pytest.mark.parametrize("pieces", PIECES, ids=["one batch", "single pictures", "ragged"])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_regression(ages, pieces, missing):
    prediction, target = ages
    mask = torch.rand(37) >= missing
    found = stream(RegressionSums(), prediction, target, mask, pieces)
    kept = target[mask].double().numpy(), prediction[mask].double().numpy()
    logs = [np.log(x) / LOG_SCALE for x in kept]
    assert found["mae_years"] == pytest.approx(sklearn.mean_absolute_error(*kept), rel=1e-6)
    assert found["rmse_log"] == pytest.approx(sklearn.root_mean_squared_error(*logs), rel=1e-6)


@pytest.mark.parametrize("pieces", PIECES, ids=["one batch", "single pictures", "ragged"])
@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_classes(pieces, missing, num_classes):
    rng = np.random.default_rng(num_classes)
    target = torch.tensor(rng.integers(0, num_classes, 37)).float()
    prediction = torch.where(torch.rand(37) < 0.5, target, torch.tensor(rng.integers(0, num_classes, 37)).float())
    mask = torch.rand(37) >= missing
    found = stream(ClassSums(num_classes), prediction, target, mask, pieces)
    wanted = as_sklearn_has_it(target[mask].int().numpy(), prediction[mask].int().numpy(), num_classes)
    assert found == pytest.approx(wanted)
    if set(target[mask].tolist()) >= set(prediction[mask].tolist()):
        assert found["balanced_accuracy"] == pytest.approx(
            sklearn.balanced_accuracy_score(target[mask].int().numpy(), prediction[mask].int().numpy())
        )


@pytest.mark.parametrize(
    ("target", "prediction"),
    [
        ([0, 0, 1, 3], [0, 1, 1, 3]),  # classes 2 and 4 do not occur at all
        ([0, 0, 1, 1], [0, 2, 1, 2]),  # class 2 is predicted and does not occur: F1 counts it as 0, recall does not
        ([4, 4, 4], [4, 4, 4]),
        ([0, 1, 2], [1, 2, 0]),
    ],
)
def test_absent_classes(target, prediction):
    sums = ClassSums(5)
    sums.update(torch.tensor(prediction), torch.tensor(target), torch.ones(len(target), dtype=torch.bool))
    found = sums.compute()
    assert found == pytest.approx(as_sklearn_has_it(np.array(target), np.array(prediction), 5))


def test_classes_by_hand():
    """True 0 0 0 1, predicted 0 0 1 1: accuracy 3/4; recalls 2/3 and 1; F1 4/5 and 2/3."""
    sums = ClassSums(2)
    sums.update(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1]), torch.ones(4, dtype=torch.bool))
    assert sums.compute() == pytest.approx(
        {"accuracy": 3 / 4, "balanced_accuracy": 5 / 6, "f1_macro": (4 / 5 + 2 / 3) / 2}
    )


def test_regression_by_hand():
    """|10 - 20| and |40 - 20|; log ratios log 1/2 and log 2."""
    sums = RegressionSums()
    sums.update(torch.tensor([10.0, 40.0]), torch.tensor([20.0, 20.0]), torch.ones(2, dtype=torch.bool))
    assert sums.compute() == pytest.approx({"mae_years": 15.0, "rmse_log": math.log(2) / 4.75})


def test_a_prediction_below_one_year_has_a_logarithm():
    sums = RegressionSums()
    sums.update(torch.tensor([-5.0, 0.0]), torch.tensor([1.0, 1.0]), torch.ones(2, dtype=torch.bool))
    assert sums.compute() == {"mae_years": 3.5, "rmse_log": 0.0}


@pytest.mark.parametrize("sums", [RegressionSums, lambda: ClassSums(3)])
@pytest.mark.parametrize("updated", [False, True])
def test_without_labels_undefined(sums, updated):
    sums = sums()
    if updated:
        sums.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]), torch.zeros(2, dtype=torch.bool))
    assert set(sums.compute().values()) == {None}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_regression_value_behind_a_mask_is_not_seen(value):
    sums = RegressionSums()
    sums.update(torch.tensor([10.0, value]), torch.tensor([12.0, 1.0]), torch.tensor([True, False]))
    assert sums.compute()["mae_years"] == 2.0


def test_many_pictures_do_not_lose_digits():
    """Sums are float64: a million times 0.1 years is 0.1 on the mean."""
    sums = RegressionSums()
    for _ in range(100):
        sums.update(torch.full((10_000,), 30.1), torch.full((10_000,), 30.0), torch.ones(10_000, dtype=torch.bool))
    assert sums.compute()["mae_years"] == pytest.approx(float(np.float32(30.1)) - 30, rel=1e-9)


def test_skill_by_hand():
    assert skill({"mae_years": 6.0}, {"mae_years": 8.0}) == pytest.approx(0.25)
    assert skill({"mae_years": 8.0}, {"mae_years": 8.0}) == 0
    assert skill({"mae_years": 10.0}, {"mae_years": 8.0}) == pytest.approx(-0.25)
    assert skill({"accuracy": 0.8}, {"accuracy": 0.6}) == pytest.approx(0.5)
    assert skill({"accuracy": 0.5}, {"accuracy": 0.6}) == pytest.approx(-0.25)


def test_skill_undefined():
    assert skill({"mae_years": 1.0}, {"mae_years": 0.0}) is None  # one age only
    assert skill({"mae_years": None}, {"mae_years": 8.0}) is None
    assert skill({"mae_years": 1.0}, {"mae_years": None}) is None
    assert skill({"accuracy": 1.0}, {"accuracy": 1.0}) is None  # one class only
    assert skill({"accuracy": None}, {"accuracy": 0.6}) is None
    assert skill({"accuracy": 0.4}, {"accuracy": None}) is None


def test_perfect_is_one_and_no_skill_is_a_number():
    assert skill({"mae_years": 0.0}, {"mae_years": 8.0}) == 1
    assert skill({"accuracy": 1.0}, {"accuracy": 0.6}) == pytest.approx(1)
    assert skill({"accuracy": 0.0}, {"accuracy": 0.5}) == pytest.approx(-1)


def test_score_is_the_mean_of_what_is_defined():
    ours = {"age": {"mae_years": 6.0}, "sick": {"accuracy": 0.8}, "species": {"accuracy": 1.0}}
    trivial = {"age": {"mae_years": 8.0}, "sick": {"accuracy": 0.6}, "species": {"accuracy": 1.0}}
    assert score(ours, trivial) == pytest.approx((0.25 + 0.5) / 2)
    assert score({"species": {"accuracy": 1.0}}, trivial) is None


def test_table_of_metrics_has_what_is_computed():
    found = {*RegressionSums().compute(), *ClassSums(2).compute()}
    assert found == set(METRICS)
    assert {name for name, (_, higher) in METRICS.items() if not higher} == {"mae_years", "rmse_log"}
