"""What gradient-based methods promise, for every such YAML in conf/weighting."""

from __future__ import annotations

import pytest
import torch
import yaml

from mtl.config import CONF
from mtl.tasks import Task, losses

METHODS = sorted(
    path.stem
    for path in (CONF / "weighting").glob("*.yaml")
    if yaml.safe_load(path.read_text())["kind"] == "gradient-based"
)
#: no task loses by the update (where the gradients are independent)
NON_CONFLICTING = ["mgda", "upgrad", "dualproj", "nash_mtl", "fairgrad", "conflict_free", "cagrad c=1.0"]
#: gradients times a number: the update times that number, by the same weights
LINEAR = ["mgda", "upgrad", "dualproj", "cagrad", "imtl_g", "conflict_free", "aligned_mtl", "pcgrad", "graddrop", "rgw"]
LINEAR += ["gradvac", "sdmgrad"]
#: each gradient times a number of its own: the same direction
DIRECTION_OF_UNIT_GRADIENTS = ["nash_mtl", "imtl_g", "conflict_free", "mgda normalize=l2"]


def named(number):
    return [Task(f"t{k}", "regression", "gaussian", 1, losses.mse) for k in range(number)]


def conflicting(number, size, seed, dtype=torch.float64):
    """Independent rows [K, n], many of which are in conflict, of lengths from 0.1 to 10."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(number, size, dtype=dtype, generator=generator)
    rows = rows - 1.1 * rows.mean(0)
    return rows * 10 ** (2 * torch.rand(number, 1, dtype=dtype, generator=generator) - 1)


@pytest.fixture
def update(make_weighting, linear_step):
    """`update("cagrad c=1.0", rows)`: gradient [n] and weights [K] of a new object of the method for rows [K, n]."""

    def call(words, rows, active=None):
        name, *changes = words.split()
        method = make_weighting(name, named(len(rows)), *(f"weighting.method.{change}" for change in changes))
        step = linear_step(rows, [0.2 + 0.1 * k for k in range(len(rows))], active)
        torch.manual_seed(3)
        weights = method.backward(step)
        return step.shared[0].grad, weights

    return call


def test_methods_are_found():
    assert {"pcgrad", "mgda", "cagrad", "nash_mtl", "gradvac", "graddrop", "excess_mtl"} <= set(METHODS)


@pytest.mark.parametrize("number", [2, 3, 12])
@pytest.mark.parametrize("words", NON_CONFLICTING)
def test_no_task_loses(words, number, update):
    for seed in range(10):
        rows = conflicting(number, number + 8, seed)
        gradient, _ = update(words, rows)
        lengths = torch.linalg.vector_norm(rows, dim=1) * torch.linalg.vector_norm(gradient)
        assert (rows @ gradient >= -1e-6 * lengths).all(), seed
        assert torch.linalg.vector_norm(gradient) > 0


@pytest.mark.parametrize("words", ["imtl_g", "conflict_free"])
def test_projections_on_unit_gradients_are_equal(words, update):
    for seed in range(10):
        rows = conflicting(4, 12, seed)
        gradient, weights = update(words, rows)
        projections = (rows @ gradient) / torch.linalg.vector_norm(rows, dim=1)
        torch.testing.assert_close(projections, projections.mean().expand(4), rtol=1e-7, atol=0)
        if words == "imtl_g":
            assert weights.sum().item() == pytest.approx(1, rel=1e-5)
        else:  # as long as the sum of what the gradients have along it
            unit = gradient / torch.linalg.vector_norm(gradient)
            torch.testing.assert_close(torch.linalg.vector_norm(gradient), (rows @ unit).sum())


@pytest.mark.parametrize("factor", [2.0**-13, 2.0**10])
@pytest.mark.parametrize("words", LINEAR)
def test_scale_of_all_gradients(words, factor, update):
    rows = conflicting(4, 12, 1)
    (one, weights), (two, others) = update(words, rows), update(words, factor * rows)
    torch.testing.assert_close(two, factor * one, rtol=1e-7, atol=1e-9 * factor)
    torch.testing.assert_close(others, weights, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("words", DIRECTION_OF_UNIT_GRADIENTS)
def test_scale_of_each_gradient(words, update):
    rows = conflicting(4, 12, 1)
    scales = torch.tensor([[1e-3], [1.0], [50.0], [1e3]], dtype=torch.float64)
    (one, weights), (two, others) = update(words, rows), update(words, scales * rows)
    if words.startswith("mgda"):  # its weights are those of unit gradients, its update of the gradients as they are
        torch.testing.assert_close(others, weights)
    else:
        cosine = torch.nn.functional.cosine_similarity(one, two, dim=0)
        assert cosine.item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", METHODS)
def test_twelve_tasks(name, dtype, update):
    for seed in range(3):
        gradient, weights = update(name, conflicting(12, 40, seed, dtype))
        assert gradient.isfinite().all()
        assert weights.isfinite().all()
        assert weights.shape == (12,)


@pytest.mark.parametrize("kind", ["same", "opposed", "fewer numbers than tasks", "all zero"])
@pytest.mark.parametrize("name", METHODS)
def test_dependent_gradients(name, kind, update):
    rows = conflicting(4, 12, 5, torch.float32)
    if kind == "same":
        rows[1] = rows[0]
    elif kind == "opposed":
        rows[1] = -rows[0]
    elif kind == "all zero":
        rows[:] = 0
    else:
        rows = rows[:, :2]
    gradient, weights = update(name, rows)
    assert gradient.isfinite().all()
    assert weights.isfinite().all()
    assert kind != "all zero" or (gradient == 0).all()


@pytest.mark.parametrize("name", METHODS)
def test_zero_gradient_of_one_task(name, update):
    """No NaN; and, but for the methods that weigh the task itself, the others are as if it were not there."""
    rows = conflicting(4, 12, 2, torch.float32)
    rows[2] = 0
    gradient, weights = update(name, rows)
    assert gradient.isfinite().all()
    assert weights.isfinite().all()
    if name == "mgda":  # zero is the nearest point of the hull
        assert weights.tolist() == [0, 0, 1, 0]
    if name in ("nash_mtl", "fairgrad", "imtl_g", "conflict_free", "gradvac"):
        alone, others = update(name, rows, [True, True, False, True])
        torch.testing.assert_close(gradient, alone)
        torch.testing.assert_close(weights, others)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", METHODS)
def test_gradient_that_is_not_finite_is_not_hidden(name, value, update):
    """The update has no finite number in place of it, or there is an error: a run must see that it has diverged."""
    rows = conflicting(3, 12, 4, torch.float32)
    rows[1, 3] = value
    try:
        gradient, _ = update(name, rows)
    except (RuntimeError, ValueError):
        return
    assert not gradient.isfinite().all()
