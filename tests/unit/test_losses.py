"""Losses against NumPy written down anew, and against what must not leak through a mask."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mtl import losses

MASK = torch.tensor([True, False, True, True, False])


def numpy_l1(output, target):
    return np.abs(output[:, 0] - target)


def numpy_mse(output, target):
    return (output[:, 0] - target) ** 2


def numpy_smooth_l1(output, target):
    error = np.abs(output[:, 0] - target)
    return np.where(error < BETA, error**2 / (2 * BETA), error - BETA / 2)


def numpy_nll(output, target):
    """-log of the normal density, without log(2 pi) / 2 and counted from the smallest variance, SPREAD^2 e^-10."""
    deviation = SPREAD * np.sqrt(np.exp(output[:, 1]))
    density = np.exp(-0.5 * ((target - output[:, 0]) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
    return -np.log(density) - np.log(2 * np.pi) / 2 - np.log(SPREAD) + 5


def numpy_cross_entropy(output, target, smoothing=0.0):
    shifted = output - output.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    wanted = np.full(logs.shape, smoothing / logs.shape[1])
    wanted[np.arange(len(target)), target.astype(int)] += 1 - smoothing
    return -(wanted * logs).sum(1)


def numpy_binary(output, target, smoothing=0.0):
    logits = np.stack([np.zeros(len(output)), output[:, 0]], 1)
    return numpy_cross_entropy(logits, target, smoothing)


BETA, SPREAD = 2.0, 3.0
SMOOTHED = {"label_smoothing": 0.2}
HARD = {"label_smoothing": 0.0}
YEARS, CLASSES, FLAGS = [3.0, 1.0, 0.5, 7.0, 1.0], [3.0, 1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 1.0, 0.0, 1.0]
SOFT_CLASSES, SOFT_FLAGS = partial(numpy_cross_entropy, smoothing=0.2), partial(numpy_binary, smoothing=0.2)
FORMS = [
    pytest.param(losses.l1, numpy_l1, 1, YEARS, id="l1"),
    pytest.param(losses.mse, numpy_mse, 1, YEARS, id="mse"),
    pytest.param(partial(losses.smooth_l1, beta=BETA), numpy_smooth_l1, 1, YEARS, id="smooth_l1"),
    pytest.param(partial(losses.gaussian_nll, spread=SPREAD), numpy_nll, 2, YEARS, id="nll"),
    pytest.param(partial(losses.cross_entropy, **HARD), numpy_cross_entropy, 4, CLASSES, id="cross_entropy"),
    pytest.param(partial(losses.cross_entropy, **SMOOTHED), SOFT_CLASSES, 4, CLASSES, id="smoothed"),
    pytest.param(partial(losses.binary_cross_entropy, **HARD), numpy_binary, 1, FLAGS, id="binary"),
    pytest.param(partial(losses.binary_cross_entropy, **SMOOTHED), SOFT_FLAGS, 1, FLAGS, id="binary smoothed"),
]


def outputs(width):
    return torch.randn(5, width, generator=torch.Generator().manual_seed(width)) * 2


@pytest.mark.parametrize(("loss", "numpy", "width", "targets"), FORMS)
def test_against_numpy(loss, numpy, width, targets):
    """The mean over the three pictures that have a label, not over all five."""
    output, target = outputs(width), torch.tensor(targets)
    values = numpy(output.double().numpy(), target.double().numpy())
    assert loss(output, target, MASK).item() == pytest.approx(values[MASK.numpy()].mean(), rel=1e-6)
    everything = torch.ones(5, dtype=torch.bool)
    assert loss(output, target, everything).item() == pytest.approx(values.mean(), rel=1e-6)


def test_smooth_l1_has_errors_on_both_sides_of_beta():
    errors = (outputs(1)[:, 0] - torch.tensor(YEARS)).abs()[MASK]
    assert errors.min() < BETA < errors.max()


@pytest.mark.parametrize(("loss", "numpy", "width", "targets"), FORMS)
def test_a_missing_label_moves_nothing(loss, numpy, width, targets):
    output, target = outputs(width).requires_grad_(), torch.tensor(targets)
    value = loss(output, target, MASK)
    value.backward()
    assert output.grad[~MASK].abs().max() == 0
    assert (output.grad[MASK].abs().sum(1) > 0).all()
    changed = output.detach().clone()
    changed[~MASK] += 50
    other = torch.where(MASK, target, 1 - target.clamp(max=1))
    assert loss(changed, other, MASK).item() == value.item()


@pytest.mark.parametrize(("loss", "numpy", "width", "targets"), FORMS)
def test_no_label_at_all_is_zero(loss, numpy, width, targets):
    output = outputs(width).requires_grad_()
    value = loss(output, torch.tensor(targets), torch.zeros(5, dtype=torch.bool))
    assert value.item() == 0
    assert value.dim() == 0
    value.backward()
    assert output.grad.abs().max() == 0


@pytest.mark.parametrize(("loss", "numpy", "width", "targets"), FORMS)
def test_an_infinite_value_behind_a_mask_is_not_seen(loss, numpy, width, targets):
    """An output that overflows at a picture without the label: loss and gradients of the others stay finite."""
    output, target = outputs(width), torch.tensor(targets)
    wanted = loss(output, target, MASK)
    output[~MASK] = torch.tensor([float("inf"), 0.0, 0.0, 0.0])[:width]
    output.requires_grad_()
    value = loss(output, target, MASK)
    assert value.item() == wanted.item()
    value.backward()
    assert torch.isfinite(output.grad[MASK]).all()
    assert (output.grad[MASK].abs().sum(1) > 0).all()


def test_large_logits_do_not_overflow():
    """log(1 + e^500) is 500, and the right class of a sure softmax costs nothing."""
    mask = torch.ones(1, dtype=torch.bool)
    assert losses.binary_cross_entropy(torch.tensor([[500.0]]), torch.zeros(1), mask, 0.0).item() == 500
    assert losses.cross_entropy(torch.tensor([[500.0, -500.0]]), torch.zeros(1), mask, 0.0).item() == 0
    assert losses.cross_entropy(torch.tensor([[500.0, -500.0]]), torch.ones(1), mask, 0.0).item() == 1000


def test_masked_mean_by_hand():
    assert losses.masked_mean(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([True, False, True])).item() == 3.5


def test_nll_is_torchs_plus_a_constant():
    output, target = outputs(2), torch.tensor(YEARS)
    theirs = F.gaussian_nll_loss(output[MASK, 0], target[MASK], SPREAD**2 * output[MASK, 1].exp())
    ours = losses.gaussian_nll(output, target, MASK, SPREAD)
    assert ours.item() == pytest.approx(theirs.item() + 5 - np.log(SPREAD), rel=1e-6)


@pytest.mark.parametrize("log_variance", [-1e4, -10.0, -3.0, 0.0, 10.0, 1e4])
@pytest.mark.parametrize("error", [0.0, 0.5, 115.0])
def test_nll_is_finite_and_never_negative(log_variance, error):
    """Also where the head is surer than any label allows, or gives up."""
    output = torch.tensor([[1.0 + error, log_variance]], requires_grad=True)
    value = losses.gaussian_nll(output, torch.ones(1), torch.ones(1, dtype=torch.bool), 1.0)
    value.backward()
    assert value.item() >= 0
    assert value.isfinite()
    assert output.grad.isfinite().all()
    assert output.grad.abs().max() <= 115 * np.exp(10) * 115
    if log_variance >= 10:
        assert output.grad[0, 1].item() == pytest.approx(0.5, abs=0.35)  # pulled back, however far it is


def test_nll_is_smallest_at_the_true_variance():
    """d/dv is zero where the predicted variance is the squared error, 4 = spread^2 e^0; d/dx is x / v."""
    output = torch.tensor([[3.0, 0.0]], requires_grad=True)
    losses.gaussian_nll(output, torch.ones(1), torch.ones(1, dtype=torch.bool), 2.0).backward()
    assert output.grad[0].tolist() == pytest.approx([0.5, 0.0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_one_logit_and_two_agree(smoothing):
    """Loss and gradient of the logit; z alone is (0, z)."""
    one, flags = outputs(1).requires_grad_(), torch.tensor(FLAGS)
    two = torch.cat([torch.zeros(5, 1), one.detach()], 1).requires_grad_()
    values = [
        losses.binary_cross_entropy(one, flags, MASK, smoothing),
        losses.cross_entropy(two, flags, MASK, smoothing),
    ]
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-6)
    for value in values:
        value.backward()
    torch.testing.assert_close(one.grad[:, 0], two.grad[:, 1])
