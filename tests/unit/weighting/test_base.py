"""The contract: what the base class refuses, where it writes gradients; a loss-based method is plain backward."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from mtl.weighting.base import Weighting
from mtl.weighting.constant import Constant
from mtl.weighting.control import Control


class Total(Weighting):
    def total(self, losses: Tensor) -> Tensor:
        return losses.sum()


class Weights(Weighting):
    def weights(self, gramian: Tensor) -> Tensor:
        return gramian.new_ones(len(gramian))


class Direction(Weighting):
    def direction(self, jacobian: Tensor) -> Tensor:
        return jacobian.sum(0)


class Nothing(Weighting):
    pass


class Both(Total):
    def direction(self, jacobian: Tensor) -> Tensor:
        return jacobian.sum(0)


class Inherited(Total):
    """Implements `total` through its parent."""


def test_one_kind_exactly(tasks):
    with pytest.raises(TypeError, match="Nothing must implement one of total, weights, direction; found none"):
        Nothing(tasks)
    with pytest.raises(TypeError, match=r"Both must implement one of .*; found total and direction"):
        Both(tasks)
    assert [method(tasks).kind for method in (Total, Weights, Direction, Inherited)] == [
        "total",
        "weights",
        "direction",
        "total",
    ]


@pytest.mark.parametrize("method", [Total, Weights, Direction])
def test_three_kinds_of_the_plain_sum_agree(bench, method):
    """The sum of the losses written in each of the three ways moves network and heads alike."""
    _, losses = bench.losses()
    sum(losses).backward()
    wanted = {name: p.grad.clone() for name, p in bench.model.named_parameters()}
    bench.clear()
    weighting = method(bench.tasks)
    weights = weighting.backward(bench.step())
    assert weights.tolist() == pytest.approx([1.0, 1.0, 1.0], abs=1e-4)
    for name, parameter in bench.model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-5, atol=1e-6, msg=name)


def test_loss_based_methods_are_plain_backward(bench, make_weighting, weighting_name):
    """Shared, head and own-parameter gradients equal those of `method.total(losses).backward()`."""
    method = make_weighting(weighting_name, bench.tasks)
    if method.kind != "total":
        pytest.skip("works on gradients")
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.copy_(torch.linspace(-0.5, 0.8, parameter.numel()).view_as(parameter))
    for mean in ([0.3, 0.7, 1.6], [0.2, 0.7, 1.4]):
        method.end_epoch(torch.tensor(mean), {})
    torch.manual_seed(5)
    looked = copy.deepcopy(method)
    looked.look(bench.step())
    _, losses = bench.losses()
    looked.total(torch.stack(losses)).backward()
    wanted = {name: p.grad.clone() for name, p in [*bench.model.named_parameters(), *looked.named_parameters()]}
    everything = [*bench.model.named_parameters(), *method.named_parameters()]
    bench.clear()
    method.zero_grad()
    torch.manual_seed(5)
    method.backward(bench.step())
    assert len(wanted) == len(everything)
    for name, parameter in everything:
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-6, atol=1e-7, msg=name)


@pytest.mark.parametrize("method", [Weights, Direction])
def test_frozen_backbone_is_refused_by_gradient_methods(bench, method):
    bench.model.backbone.requires_grad_(False)
    with pytest.raises(
        ValueError, match=rf"{method.__name__} combines gradients of the shared parameters.*unfreeze the backbone"
    ):
        method(bench.tasks).backward(bench.step())


def test_frozen_backbone_trains_heads_under_loss_based_methods(bench):
    bench.model.backbone.requires_grad_(False)
    assert Total(bench.tasks).backward(bench.step()).tolist() == [1.0, 1.0, 1.0]
    assert all(p.grad is not None for p in bench.model.heads.parameters())
    assert all(p.grad is None for p in bench.model.backbone.parameters())


@pytest.mark.parametrize("method", [Weights, Direction])
def test_partly_frozen_backbone(bench, method):
    """Only what trains is combined and gets a gradient."""
    bench.model.backbone.first.requires_grad_(False)
    method(bench.tasks).backward(bench.step())
    assert bench.model.backbone.first.weight.grad is None
    wanted = bench.rows().sum(0)
    torch.testing.assert_close(bench.shared_gradient(), wanted, rtol=1e-5, atol=1e-6)


def test_method_sees_the_active_tasks_only(tasks, linear_step):
    seen = []

    class Spy(Weighting):
        def total(self, losses: Tensor) -> Tensor:
            seen.append((losses.tolist(), list(self.active)))
            return losses.sum()

    method = Spy(tasks)
    weights = method.backward(linear_step(torch.eye(3), [1.0, 2.0, 4.0], active=[True, False, True]))
    assert seen == [([1.0, 4.0], [0, 2])]
    assert weights.tolist() == [1.0, 0.0, 1.0]


def test_own_parameter_of_an_inactive_task_does_not_drift(tasks, linear_step):
    """AdamW's momentum moves a parameter whose gradient is zero; `after_step` puts an inactive task's entry back."""

    class Learnt(Weighting):
        def __init__(self, tasks):
            super().__init__(tasks)
            self.scales = nn.Parameter(torch.ones(len(tasks), 2))
            self.common = nn.Parameter(torch.ones(()))

        def total(self, losses: Tensor) -> Tensor:
            return (self.scales[self.active].sum(1) * losses).sum() * self.common

    method = Learnt(tasks)
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.1)

    def train(active):
        optimizer.zero_grad()
        step = linear_step(torch.eye(3), [1.0, 2.0, 4.0], active=active)
        method.backward(step)
        optimizer.step()
        method.after_step(step)

    for _ in range(3):
        train([True, True, True])
    before = method.scales.detach().clone()
    train([True, False, True])
    assert torch.equal(method.scales[1], before[1])
    assert not torch.equal(method.scales[0], before[0])
    assert not torch.equal(method.scales[2], before[2])
    train([True, True, True])  # and it goes on learning when it is back
    assert not torch.equal(method.scales[1], before[1])


@pytest.mark.parametrize("method", [Total, Weights, Direction])
def test_single_task(make_tasks, make_bench, method):
    bench = make_bench(make_tasks(["sick"]))
    weights = method(bench.tasks).backward(bench.step())
    assert weights.tolist() == pytest.approx([1.0], abs=1e-5)
    torch.testing.assert_close(bench.shared_gradient(), bench.rows()[0], rtol=1e-5, atol=1e-6)


def test_other_parameters_get_another_jacobian(tasks, linear_step):
    """Given the parameters of another network, a method does not combine what lies in the buffer of the first."""
    method = Direction(tasks)
    for rows in (torch.eye(3), 2 * torch.eye(3)):
        step = linear_step(rows)
        assert method.backward(step).tolist() == pytest.approx([1.0, 1.0, 1.0])
        assert torch.equal(step.shared[0].grad, rows.sum(0))


def test_index_of_the_active_tasks(tasks, linear_step):
    """A slice where all are: indexing by a list waits for the device."""
    method = Total(tasks)
    values = torch.tensor([1.0, 2.0, 3.0])
    for active, wanted in (([True] * 3, [1.0, 2.0, 3.0]), ([True, False, True], [1.0, 3.0]), ([False] * 3, [])):
        method.backward(linear_step(torch.eye(3), active=active))
        assert values[method.at].tolist() == wanted
        assert isinstance(method.at, slice) == all(active)


def test_losses_as_the_method_sees_them(tasks, linear_step):
    """Times the factors of this step's prescale, at least the floor; those of another moment, too."""

    class Bounded(Total):
        floor = 0.5

    method = Bounded(tasks)
    method.compose(Control(), Constant(tasks, {"age": 50}))
    weights = method.backward(linear_step(torch.eye(3), [1.0, 0.25, 4.0]))
    assert method.losses.tolist() == [50.0, 0.5, 4.0]
    assert weights.tolist() == [50.0, 1.0, 1.0]
    assert method.seen(list(torch.tensor([2.0, 3.0, -1.0]))).tolist() == [100.0, 3.0, 0.5]
    method.backward(linear_step(torch.eye(3), [1.0, 2.0, 4.0], active=[False, True, True]))
    assert method.losses.tolist() == [2.0, 4.0]
    method.backward(linear_step(torch.eye(3), active=[False] * 3))
    assert method.losses.tolist() == []


def test_functions_of_the_losses(bench):
    """A gradient-based method on squares of the losses: gradients 2 L grad L for shared parameters and heads."""

    class Squares(Weights):
        def loss_factors(self) -> Tensor:
            return 2 * self.losses

    _, losses = bench.losses()
    sum(loss.square() for loss in losses).backward()
    wanted = {name: p.grad.clone() for name, p in bench.model.named_parameters()}
    bench.clear()
    weights = Squares(bench.tasks).backward(bench.step())
    torch.testing.assert_close(weights, 2 * torch.stack([loss.detach() for loss in losses]))
    for name, parameter in bench.model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-5, atol=1e-6, msg=name)


def test_look_comes_before_the_gradients(bench):
    """The graph is still there, for the method and for one that scales for it."""

    class Looking(Total):
        def look(self, step):
            self.first = torch.autograd.grad(step.losses[0], step.last_shared, retain_graph=True)[0]

    method, prescale = Looking(bench.tasks), Looking(bench.tasks)
    method.compose(Control(), prescale)
    method.backward(bench.step())
    assert torch.equal(method.first, prescale.first)
    assert method.first.abs().max() > 0
