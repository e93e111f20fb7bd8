"""Losses against NumPy written down anew, and against what must not leak through a mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtl import losses

MASK = torch.tensor([True, False, True, True, False])


def numpy_l1(output, target):
    return np.abs(output[:, 0] - target)


def numpy_mse(output, target):
    return (output[:, 0] - target) ** 2


def numpy_cross_entropy(output, target):
    shifted = output - output.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return -logs[np.arange(len(target)), target.astype(int)]


def numpy_binary(output, target):
    chance = 1 / (1 + np.exp(-output[:, 0]))
    return -(target * np.log(chance) + (1 - target) * np.log(1 - chance))


FORMS = [
    pytest.param(losses.l1, numpy_l1, 1, [3.0, 1.0, 0.5, 7.0, 1.0], id="l1"),
    pytest.param(losses.mse, numpy_mse, 1, [3.0, 1.0, 0.5, 7.0, 1.0], id="mse"),
    pytest.param(losses.cross_entropy, numpy_cross_entropy, 4, [3.0, 1.0, 0.0, 2.0, 1.0], id="cross_entropy"),
    pytest.param(losses.binary_cross_entropy, numpy_binary, 1, [0.0, 1.0, 1.0, 0.0, 1.0], id="binary_cross_entropy"),
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
    output[~MASK] = float("inf") if width == 1 else torch.tensor([float("inf"), 0.0, 0.0, 0.0])
    output.requires_grad_()
    value = loss(output, target, MASK)
    assert value.item() == wanted.item()
    value.backward()
    assert torch.isfinite(output.grad[MASK]).all()
    assert (output.grad[MASK].abs().sum(1) > 0).all()


def test_large_logits_do_not_overflow():
    """log(1 + e^500) is 500, and the right class of a sure softmax costs nothing."""
    mask = torch.ones(1, dtype=torch.bool)
    assert losses.binary_cross_entropy(torch.tensor([[500.0]]), torch.zeros(1), mask).item() == 500
    assert losses.cross_entropy(torch.tensor([[500.0, -500.0]]), torch.zeros(1), mask).item() == 0
    assert losses.cross_entropy(torch.tensor([[500.0, -500.0]]), torch.ones(1), mask).item() == 1000


def test_masked_mean_by_hand():
    assert losses.masked_mean(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([True, False, True])).item() == 3.5
