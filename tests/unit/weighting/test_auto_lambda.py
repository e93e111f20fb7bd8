"""Auto-Lambda: its step of the weights against the exact derivative through the virtual step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from mtl.weighting.step import Step


def quadratics(theta, centres):
    """Losses |A_k theta - c_k|^2 / 2 of smooth, different curvature."""
    scales = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.5]), torch.tensor([0.7, 0.7])]
    return [((scale * theta - centre) ** 2).sum() / 2 for scale, centre in zip(scales, centres, strict=False)]


def exact(start, weights, virtual_lr, own, further):
    """d/dw of sum L_further(theta - a grad sum w L_own), by automatic differentiation through the virtual step."""
    theta, w = start.clone().requires_grad_(), weights.clone().requires_grad_()
    total = (w * torch.stack(quadratics(theta, own))).sum()
    (gradient,) = torch.autograd.grad(total, theta, create_graph=True)
    judged = torch.stack(quadratics(theta - virtual_lr * gradient, further)).sum()
    return torch.autograd.grad(judged, w)[0]


def make_step(theta, own, further, active=(True, True, True)):
    def forward(batch):
        return quadratics(theta, own if batch == "same" else further)

    return Step(forward("same"), list(active), torch.zeros(1, 1), [theta], [theta], [[], [], []], 0, 0, forward)


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 2, generator=generator, dtype=torch.float64)


def moved(method):
    """The gradients that the method's Adam saw in its first step."""
    return method.learnt.mean / 0.1


def test_the_derivative_is_that_through_the_virtual_step(tasks, make_weighting, batches):
    method = make_weighting("auto_lambda", tasks, "weighting.method.virtual_lr=0.05").double()
    theta = nn.Parameter(torch.tensor([0.3, -0.8], dtype=torch.float64))
    wanted = exact(theta.detach(), method.learnt.value, 0.05, *batches)
    weights = method.backward(make_step(theta, *batches))
    torch.testing.assert_close(moved(method), wanted, rtol=1e-4, atol=1e-8)
    assert weights.tolist() == pytest.approx([0.1 - 1e-4 * torch.sign(g).item() for g in wanted], abs=1e-8)


def test_the_network_gets_the_new_weights_and_keeps_its_parameters(tasks, make_weighting, batches):
    method = make_weighting("auto_lambda", tasks).double()
    theta = nn.Parameter(torch.tensor([0.3, -0.8], dtype=torch.float64))
    before = theta.detach().clone()
    weights = method.backward(make_step(theta, *batches))
    assert torch.equal(theta.detach(), before)
    rows = torch.stack([torch.autograd.grad(loss, theta)[0] for loss in quadratics(theta, batches[0])])
    torch.testing.assert_close(theta.grad, weights.double() @ rows, rtol=1e-6, atol=1e-9)


def test_what_helps_the_further_batch_gains(tasks, make_weighting):
    """Another batch that is as the first task's own: its weight rises, that of the task against it falls."""
    centres = torch.tensor([[4.0, 0.0], [-12.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    further = torch.tensor([[4.0, 0.0], [12.0, 0.0], [2.8, 0.0]], dtype=torch.float64)  # all want theta = (4, 0)
    method = make_weighting("auto_lambda", tasks).double()
    theta = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    for _ in range(5):
        weights = method.backward(make_step(theta, centres, further)).tolist()
    assert weights[0] > 0.1 > weights[1]


def test_inactive_tasks_take_no_part(tasks, make_weighting, batches):
    method, alone = make_weighting("auto_lambda", tasks).double(), make_weighting("auto_lambda", tasks[:2]).double()
    theta = nn.Parameter(torch.tensor([0.3, -0.8], dtype=torch.float64))
    for _ in range(3):
        weights = method.backward(make_step(theta, *batches, (True, True, False)))
        wanted = alone.backward(replace(make_step(theta, *batches[:, :2]), active=[True, True]))
        assert weights.tolist() == pytest.approx([*wanted.tolist(), 0.0])
    assert method.learnt.steps.tolist() == [3.0, 3.0, 0.0]


def test_prescaled_losses_are_those_it_learns_from(tasks, make_weighting, batches):
    method, scaled = make_weighting("auto_lambda", tasks).double(), make_weighting("auto_lambda", tasks).double()
    scales = dict(zip((task.name for task in tasks), (2.0, 0.5, 3.0), strict=True))
    prescale = make_weighting("constant", tasks, f"weighting.method.weights={scales}".replace("'", "")).double()
    method.compose(method.control, prescale)
    theta = nn.Parameter(torch.tensor([0.3, -0.8], dtype=torch.float64))
    method.backward(make_step(theta, *batches))
    factors = torch.tensor(list(scales.values()), dtype=torch.float64)

    def forward(batch):
        return [f * x for f, x in zip(factors, quadratics(theta, batches[int(batch == "train")]), strict=True)]

    scaled.backward(replace(make_step(theta, *batches), losses=forward("same"), forward=forward))
    torch.testing.assert_close(moved(method), moved(scaled))


@pytest.mark.parametrize("option", ["init=0", "lr=-1", "virtual_lr=0"])
def test_wrong_values(option, tasks, make_weighting):
    with pytest.raises(ValueError, match=rf"weighting\.method\.{option}: expected a finite number above 0"):
        make_weighting("auto_lambda", tasks, f"weighting.method.{option}")
