"""The conflict probe: hand-computed values, what is undefined, and that the training does not feel it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mtl.conflict import summary, task_gramian

NAMES = ["a", "b", "c"]


def gramian(rows, active=(True, True, True)):
    rows = torch.tensor(rows, dtype=torch.float64)
    theta = nn.Parameter(torch.zeros(rows.shape[1], dtype=torch.float64))
    return task_gramian([row @ theta for row in rows], list(active), [theta])


def test_two_probes_by_hand():
    """(3, 0), (0, 4), (-2, 0): a right angle and a straight conflict; then a and c agree."""
    row = summary([gramian([[3, 0], [0, 4], [-2, 0]]), gramian([[1, 0], [0, 4], [2, 0]])], NAMES)
    assert row["conflict/cos/a/b"] == 0
    assert row["conflict/cos/a/c"] == 0  # -1 and 1
    assert row["conflict/share/a/c"] == 0.5
    assert row["conflict/share/a/b"] == 0
    assert row["conflict/norm/a"] == 2
    assert row["conflict/norm/c"] == 2
    assert row["conflict/gms/a/b"] == pytest.approx((24 / 25 + 8 / 17) / 2)
    assert row["conflict/condition"] is None  # a and c are parallel


def test_condition_is_that_of_the_jacobian():
    rows = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    row = summary([gramian(rows.tolist()), gramian((rows * torch.tensor([[1], [10], [1]])).tolist())], NAMES)
    singular = [torch.linalg.svdvals(rows), torch.linalg.svdvals(rows * torch.tensor([[1], [10], [1]]))]
    assert row["conflict/condition"] == pytest.approx(math.sqrt(math.prod((s[0] / s[-1]).item() for s in singular)))


def test_undefined_is_none():
    """No label of c, a zero gradient of b: nothing is made up, and the other probe counts alone."""
    first = gramian([[1, 0], [0, 0], [1, 1]], [True, True, False])
    row = summary([first], NAMES)
    assert row["conflict/norm/c"] is None
    assert row["conflict/norm/b"] == 0
    assert row["conflict/cos/a/b"] is None
    assert row["conflict/share/a/b"] is None
    assert row["conflict/cos/a/c"] is None
    assert row["conflict/gms/a/b"] == 0
    both = summary([first, gramian([[1, 0], [1, 1], [0, -1]])], NAMES)
    assert both["conflict/cos/a/b"] == pytest.approx(1 / math.sqrt(2))
    assert both["conflict/share/b/c"] == 1
    assert summary([gramian([[1, 0]] * 3, [False] * 3)], NAMES)["conflict/norm/a"] is None


def test_nothing_shared_and_nothing_probed():
    assert task_gramian([torch.ones(())] * 2, [True, True], []).isnan().all()
    assert summary([], NAMES) == {}


def test_a_parameter_that_a_loss_does_not_reach():
    one, two = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    found = task_gramian([one.sum(), (one.sum() + two.sum())], [True, True], [one, two])
    assert found.tolist() == [[2, 2], [2, 5]]


def test_it_is_the_gramian_of_the_network(bench):
    features, losses = bench.losses()
    rows = bench.rows()
    torch.testing.assert_close(task_gramian(losses, [True] * 3, bench.model.shared_parameters()), rows @ rows.T)
    assert all(p.grad is None for p in bench.model.parameters())
    losses[0].backward()  # the graph is still there
    assert features.requires_grad
