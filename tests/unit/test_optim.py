"""Parameter groups, schedules for any number of steps, clipping."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

from mtl.config import CONF, bind, compose
from mtl.optim import Schedule, build_optimizer, clip_, constant, cosine, gradient_norms, one_cycle

ADAMW = partial(torch.optim.AdamW, lr=0.1, weight_decay=0.5)
SGD = partial(torch.optim.SGD, lr=0.1, weight_decay=0.5, momentum=0.9)


class Learnt(nn.Module):
    def __init__(self):
        super().__init__()
        self.scales = nn.Parameter(torch.ones(3))


def test_network_and_method_are_apart():
    model, method = nn.Linear(3, 2), Learnt()
    optimizer = build_optimizer(ADAMW, model, method, 0.025)
    network, own = optimizer.param_groups
    assert {id(p) for p in network["params"]} == {id(p) for p in model.parameters()}
    assert {id(p) for p in own["params"]} == {id(method.scales)}
    assert (network["lr"], network["weight_decay"]) == (0.1, 0.5)
    assert (own["lr"], own["weight_decay"]) == (0.025, 0.0)


@pytest.mark.parametrize("make", [ADAMW, SGD])
def test_methods_parameters_do_not_decay(make):
    """A zero gradient moves the network by weight decay and the method's parameters not at all."""
    model, method = nn.Linear(3, 2), Learnt()
    optimizer = build_optimizer(make, model, method, 0.025)
    before = model.weight.detach().clone()
    for parameter in [*model.parameters(), *method.parameters()]:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert method.scales.tolist() == [1.0, 1.0, 1.0]
    assert (model.weight.abs() < before.abs()).all()


def test_a_method_without_parameters_has_no_group():
    assert len(build_optimizer(SGD, nn.Linear(3, 2), nn.Identity(), 0.025).param_groups) == 1


def test_frozen_parameters_are_left_out():
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    (group,) = build_optimizer(SGD, model, nn.Identity(), 0.025).param_groups
    assert group["params"] == [model.weight]


@pytest.mark.parametrize("make", [ADAMW, SGD])
def test_fused(make):
    assert build_optimizer(make, nn.Linear(3, 2), Learnt(), 0.025).defaults["fused"] is True


@pytest.mark.parametrize(
    "make",
    [
        partial(torch.optim.SGD, lr=0.1, nesterov=True),
        partial(torch.optim.AdamW, lr=0.1, betas=(2.0, 0.9)),
        partial(torch.optim.SGD, lr=-1),
    ],
)
def test_options_that_the_optimizer_refuses(make):
    with pytest.raises(ValueError, match=r"^optimizer: .*\.$"):
        build_optimizer(make, nn.Linear(3, 2), Learnt(), 0.025)


def test_schedule_moves_all_rates_by_one_factor():
    """Network and method: each group keeps its own base rate."""
    optimizer = build_optimizer(ADAMW, nn.Linear(3, 2), Learnt(), 0.025)
    schedule = Schedule(optimizer, 10, cosine)
    for step in range(10):
        rate = schedule.apply(step)
        factor = (1 + math.cos(math.pi * step / 10)) / 2
        assert rate == optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * factor)
        assert optimizer.param_groups[1]["lr"] == pytest.approx(0.025 * factor)


def test_schedule_goes_on_after_a_checkpoint_was_loaded():
    """`load_state_dict` replaces the groups and their rates; the base rates stay those of the config."""
    model, factor = nn.Linear(3, 2), partial(one_cycle, warmup=0.5)
    first = build_optimizer(ADAMW, model, Learnt(), 0.025)
    Schedule(first, 10, factor).apply(8)
    second = build_optimizer(ADAMW, model, Learnt(), 0.025)
    schedule = Schedule(second, 10, factor)
    second.load_state_dict(first.state_dict())
    for step in range(10):
        assert schedule.apply(step) == second.param_groups[0]["lr"] == pytest.approx(0.1 * one_cycle(step, 10, 0.5))
        assert second.param_groups[1]["lr"] == pytest.approx(0.025 * one_cycle(step, 10, 0.5))


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "schedule").glob("*.yaml")))
def test_every_schedule_is_a_factor(name):
    """Every YAML in conf/schedule, for a run of 1 step and of 50: finite, not negative, at most 1."""
    factor = bind(compose([f"schedule={name}"])["schedule"])
    for num_steps in (1, 2, 50):
        assert all(0 <= factor(step, num_steps) <= 1 for step in range(num_steps))


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.25, 0.3, 0.5, 0.99])
def test_one_cycle_for_any_number_of_steps(warmup):
    """Finite, positive, once up to 1 and once down: for 1 to 50 steps, a single one included."""
    for num_steps in range(1, 51):
        factors = [one_cycle(step, num_steps, warmup) for step in range(num_steps)]
        assert all(math.isfinite(factor) and 0 < factor <= 1 for factor in factors), num_steps
        assert max(factors) == pytest.approx(1), (num_steps, "the peak is the learning rate that was asked for")
        peak = factors.index(max(factors))
        assert factors[: peak + 1] == sorted(factors[: peak + 1])
        assert factors[peak:] == sorted(factors[peak:], reverse=True)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize(("num_steps", "warmup"), [(8, 0.25), (20, 0.25), (48, 0.25), (10, 0.3), (50, 0.5), (40, 0.1)])
def test_one_cycle_is_torchs(num_steps, warmup):
    """torch's OneCycleLR (defaults: cosine, from 1/25, to 1e-4/25) where warmup x steps is a whole number above 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=num_steps, pct_start=warmup, cycle_momentum=False
    )
    for step in range(num_steps):
        assert one_cycle(step, num_steps, warmup) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9), step
        if step < num_steps - 1:
            theirs.step()


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_why_one_cycle_is_our_own():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(ZeroDivisionError):
        torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=4, pct_start=0.25, cycle_momentum=False)


def test_one_cycle_ends_low():
    assert one_cycle(0, 40, 0.25) == pytest.approx(1 / 25)
    assert one_cycle(39, 40, 0.25) == pytest.approx(1e-4 / 25)


def test_cosine_is_torchs():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    for step in range(12):
        assert cosine(step, 12) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


def test_constant_is_one():
    assert {constant(step, 10) for step in range(10)} == {1.0}


def clip(parameters, limit):
    return clip_(parameters, torch.linalg.vector_norm(gradient_norms([parameters], torch.device("cpu"))), limit)


def test_gradient_norms_of_groups():
    """Gradients (3, 4) have norm 5; a parameter without gradient counts nothing, nor does a group of none."""
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(4)]
    for parameter, gradient in zip(parameters, (3.0, 4.0, -2.0), strict=False):
        parameter.grad = torch.tensor([gradient])
    groups = [parameters[:2], parameters[2:], parameters[3:], []]
    assert gradient_norms(groups, torch.device("cpu")).tolist() == [5, 2, 0, 0]


def test_clip_scales_to_the_limit():
    """Gradients (3, 4) have norm 5; at most 1 leaves a fifth of them."""
    parameters = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    assert clip(parameters, 1.0).item() == pytest.approx(0.2, rel=1e-5)
    assert [p.grad.item() for p in parameters] == pytest.approx([0.6, 0.8], rel=1e-5)


def test_clip_leaves_small_gradients_to_the_bit():
    parameter = nn.Parameter(torch.zeros(3))
    parameter.grad = torch.tensor([0.1, 0.2, 0.3])
    assert clip([parameter], 1.0).item() == 1
    assert torch.equal(parameter.grad, torch.tensor([0.1, 0.2, 0.3]))


def test_clip_agrees_with_torch():
    model, other = nn.Linear(5, 4), nn.Linear(5, 4)
    for module in (model, other):
        for parameter in module.parameters():
            parameter.grad = torch.ones_like(parameter)
    norm = torch.nn.utils.clip_grad_norm_(other.parameters(), 0.5)
    factor = clip(list(model.parameters()), 0.5)
    assert factor.item() == pytest.approx(0.5 / norm.item(), rel=1e-5)
    torch.testing.assert_close(model.weight.grad, other.weight.grad)


def test_clip_without_any_gradient():
    """A batch in which no task has a label leaves no gradient at all."""
    assert clip([nn.Parameter(torch.zeros(3))], 1.0).item() == 1
