"""Uncertainty weighting: each likelihood's form by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F


@pytest.mark.parametrize(
    ("name", "loss", "value", "weight", "slope", "total"),
    [
        # s = log 4, L = 3. Gaussian: L e^-s / 2 + s / 2 = 3/8 + log(4)/2; d/dL = 1/8; d/ds = -3/8 + 1/2.
        ("age", "mse", 3.0, 0.125, 0.125, 0.375 + math.log(4) / 2),
        # Laplace: L e^-s + s = 3/4 + log 4; d/dL = 1/4; d/ds = -3/4 + 1.
        ("age", "l1", 3.0, 0.25, 0.25, 0.75 + math.log(4)),
        # Smooth L1 as Laplace.
        ("age", "smooth_l1", 3.0, 0.25, 0.25, 0.75 + math.log(4)),
        # A predicted variance: L as it is, whatever s.
        ("age", "nll", 3.0, 1.0, 0.0, 3.0),
        # Softmax: L e^-s + s / 2 = 3/4 + log(4)/2; d/dL = 1/4; d/ds = -3/4 + 1/2.
        ("species", "mse", 3.0, 0.25, -0.25, 0.75 + math.log(4) / 2),
        # A binary task is a softmax of two classes.
        ("sick", "mse", 3.0, 0.25, -0.25, 0.75 + math.log(4) / 2),
    ],
)
def test_form_fits_the_likelihood(make_tasks, make_weighting, linear_step, name, loss, value, weight, slope, total):
    method = make_weighting("uncertainty", make_tasks([name], loss=loss))
    with torch.no_grad():
        method.log_scale.fill_(math.log(4))
    assert method.total(torch.tensor([value])).item() == pytest.approx(total)
    weights = method.backward(linear_step(torch.ones(1, 2), [value]))
    assert weights.tolist() == pytest.approx([weight])
    assert method.log_scale.grad.tolist() == pytest.approx([slope])


@pytest.mark.parametrize(("loss", "factor"), [("mse", 1), ("l1", 1), ("smooth_l1", 1)])
def test_optimum_is_where_the_docstring_says(make_tasks, make_weighting, loss, factor):
    """d total / ds = 0 at s = log L for regression, log 2L for classes."""
    method = make_weighting("uncertainty", make_tasks(["age", "sick"], loss=loss))
    losses = torch.tensor([0.3, 0.7])
    with torch.no_grad():
        method.log_scale.copy_(torch.log(losses * torch.tensor([1.0 * factor, 2.0])))
    method.total(losses).backward()
    assert method.log_scale.grad.abs().max() < 1e-6


@pytest.mark.parametrize("beta", [1e-4, 1e4])
def test_smooth_l1_between_its_two_likelihoods(beta):
    """The exact scale of e^(-L/b): Laplace's b = L for a small beta, b = 2 L for a large one, where it is a square.

    The normaliser is integrated numerically; Laplace's form is exact in the first case and twice too heavy in the
    second, as the docstring says.
    """
    errors = torch.linspace(0, 400, 400_001, dtype=torch.float64)
    density = F.smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none", beta=beta)
    loss = 1.0 if beta < 1 else 0.5**2 / 2 / beta
    scales = torch.linspace(0.5 * loss, 4 * loss, 351, dtype=torch.float64)
    totals = [loss / b + torch.trapezoid(torch.exp(-density / b), errors).log() for b in scales]
    best = scales[int(torch.stack(totals).argmin())].item()
    assert best == pytest.approx(loss if beta < 1 else 2 * loss, rel=0.02)


def test_a_predicted_variance_leaves_the_others_their_scales(make_tasks, make_weighting):
    """Through an optimizer: the s of nll stays 0, even where the loss is 0."""
    method = make_weighting("uncertainty", make_tasks(["age", "sick"], loss="nll"))
    optimizer = torch.optim.Adam(method.parameters(), 0.1)
    for value in (0.0, 3.0, 5.0):
        optimizer.zero_grad()
        method.total(torch.tensor([value, 0.7])).backward()
        optimizer.step()
    assert method.log_scale[0].item() == 0
    assert method.log_scale[1].item() > 0.1


def test_starts_at_zero_and_learns(tasks, make_weighting):
    method = make_weighting("uncertainty", tasks)
    assert method.log_scale.tolist() == [0.0, 0.0, 0.0]
    assert [name for name, _ in method.named_parameters()] == ["log_scale"]


def test_untyped_form_uses_one_half_for_every_task(tasks, make_weighting, linear_step):
    """sum L e^-s / 2 + s / 2 at s = 0: weights 1/2, d/ds = 1/2 - L/2."""
    method = make_weighting("uncertainty_untyped", tasks)
    weights = method.backward(linear_step(torch.eye(3), [3.0, 1.0, 0.5]))
    assert weights.tolist() == [0.5, 0.5, 0.5]
    (parameter,) = method.parameters()
    assert parameter.grad.tolist() == pytest.approx([-1.0, 0.0, 0.25])
