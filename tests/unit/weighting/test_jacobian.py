"""The gradient side: rows in one buffer, torchjd's own path as second source, and weights of a free direction."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchjd import aggregation
from torchjd.autojac import jac_to_grad, mtl_backward

from mtl.weighting.jacobian import Jacobian, least_squares_weights
from mtl.weighting.torchjd import Aggregator, GramianWeights


def test_rows_are_the_gradients_of_single_losses(bench):
    jacobian = Jacobian(bench.model.shared_parameters(), 3)
    _, losses = bench.losses()
    rows = jacobian.fill(losses)
    torch.testing.assert_close(rows, bench.rows(), rtol=1e-6, atol=1e-7)


def test_a_row_of_an_earlier_step_does_not_remain(bench):
    """Two active tasks after three; and a parameter that a loss does not reach has a zero in its row."""
    jacobian = Jacobian([*bench.model.shared_parameters(), *bench.model.heads["age"].parameters()], 3)
    jacobian.fill(bench.losses()[1])
    _, losses = bench.losses()
    rows = jacobian.fill([losses[1], losses[2]])
    num_shared = bench.rows().shape[1]
    torch.testing.assert_close(rows[:, :num_shared], bench.rows()[[1, 2]], rtol=1e-6, atol=1e-7)
    assert rows.shape[0] == 2
    assert rows[:, num_shared:].abs().max() == 0


def test_write_leaves_the_update_in_grad(bench):
    shared = bench.model.shared_parameters()
    jacobian = Jacobian(shared, 3)
    update = torch.arange(float(sum(p.numel() for p in shared)))
    jacobian.write(update)
    assert torch.equal(bench.shared_gradient(), update)
    assert all(p.grad.shape == p.shape for p in shared)


def torchjd_gradients(bench, aggregator):
    """Gradients of shared parameters and heads by torchjd's `mtl_backward` and `jac_to_grad`."""
    features, losses = bench.losses()
    shared = bench.model.shared_parameters()
    mtl_backward(
        losses,
        features=features,
        tasks_params=bench.model.head_parameters(),
        shared_params=shared,
        parallel_chunk_size=1,
    )
    torch.manual_seed(3)
    jac_to_grad(shared, aggregator)
    gradients = {name: p.grad.clone() for name, p in bench.model.named_parameters()}
    bench.clear()
    return gradients


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda tasks: GramianWeights(tasks, aggregation.PCGradWeighting()), aggregation.PCGrad()),
        (lambda tasks: GramianWeights(tasks, aggregation.MGDAWeighting()), aggregation.MGDA()),
        (lambda tasks: GramianWeights(tasks, aggregation.IMTLGWeighting()), aggregation.IMTLG()),
        (lambda tasks: Aggregator(tasks, aggregation.ConFIG()), aggregation.ConFIG()),
        (lambda tasks: Aggregator(tasks, aggregation.GradDrop()), aggregation.GradDrop()),
    ],
    ids=["pcgrad", "mgda", "imtl_g", "config", "graddrop"],
)
def test_against_torchjds_own_path(bench, ours, theirs):
    wanted = torchjd_gradients(bench, theirs)
    method = ours(bench.tasks)
    torch.manual_seed(3)
    method.backward(bench.step())
    for name, parameter in bench.model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-3, atol=1e-5, msg=name)


def test_a_direction_inside_the_span_has_weights_and_no_residual(bench):
    """ConFIG moves inside the span of the rows: its weights reproduce the gradient."""
    method = Aggregator(bench.tasks, aggregation.ConFIG())
    weights = method.backward(bench.step())
    gradient = bench.shared_gradient()
    assert method.residual.item() < 1e-5
    torch.testing.assert_close(weights @ bench.rows(), gradient, rtol=1e-4, atol=1e-5)
    assert weights.min() > 0


def test_a_direction_outside_the_span_says_how_far(bench):
    """GradDrop leaves the span: the logged weights are the nearest ones, by NumPy's least squares."""
    method = Aggregator(bench.tasks, aggregation.GradDrop())
    weights = method.backward(bench.step())
    rows, update = bench.rows().double().numpy(), bench.shared_gradient().double().numpy()
    import numpy as np

    wanted, squares, _, _ = np.linalg.lstsq(rows.T, update, rcond=None)
    assert weights.tolist() == pytest.approx(wanted.tolist(), rel=1e-4)
    assert method.residual.item() == pytest.approx(float(np.sqrt(squares[0]) / np.linalg.norm(update)), rel=1e-4)
    assert method.residual.item() > 0.05


def test_residual_of_one_step_does_not_remain(bench):
    method = Aggregator(bench.tasks, aggregation.GradDrop())
    method.backward(bench.step())
    method.backward(bench.step(inactive=["age", "sick", "species"]))
    assert method.residual is None


def test_least_squares_by_hand():
    """Rows (1, 0, 0) and (0, 2, 0), update (3, 4, 12): w = (3, 2), what is left is (0, 0, 12) of length 12 in 13."""
    weights, residual = least_squares_weights(torch.tensor([[1.0, 0, 0], [0, 2, 0]]), torch.tensor([3.0, 4, 12]))
    assert weights.tolist() == pytest.approx([3, 2])
    assert residual.item() == pytest.approx(12 / 13)


@pytest.mark.parametrize(
    ("rows", "update", "wanted"),
    [
        ([[1.0, 1.0], [2.0, 2.0]], [5.0, 5.0], [2.5, 1.25]),  # parallel: each brings half, whatever its length
        ([[0.0, 0.0], [1.0, 1.0]], [2.0, 2.0], [0.0, 2.0]),  # a zero gradient takes no weight
        ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0], [0.0, 0.0]),  # nothing to reproduce
    ],
)
def test_least_squares_without_a_unique_answer(rows, update, wanted):
    weights, residual = least_squares_weights(torch.tensor(rows), torch.tensor(update))
    assert weights.tolist() == pytest.approx(wanted, abs=1e-6)
    assert residual.item() == pytest.approx(0, abs=1e-6)


def test_least_squares_of_what_is_not_finite():
    """NaN, for the run's check to find; no error of the solver, which names no task."""
    for bad in (float("nan"), float("inf")):
        rows = torch.tensor([[1.0, 0.0], [bad, 1.0]])
        weights, residual = least_squares_weights(rows, rows.sum(0))
        assert not weights.isfinite().any()
        assert not residual.isfinite()


def test_is_of_its_own_parameters_only():
    one, other = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    jacobian = Jacobian([one, other], 2)
    assert jacobian.is_of([one, other])
    assert not jacobian.is_of([one])
    assert not jacobian.is_of([other, one])
