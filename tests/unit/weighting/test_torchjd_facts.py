"""What the adapters rest on: behaviour of torchjd that a new release may change, and the adapters themselves."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchjd import aggregation, scalarization
from torchjd.autojac import mtl_backward

from mtl.weighting.torchjd import GramianWeights, Scalarizer


def test_losses_that_were_stacked_break_mtl_backward(bench):
    """Why `Step.losses` are K separate tensors."""
    features, losses = bench.losses()
    heads, shared = bench.model.head_parameters(), bench.model.shared_parameters()
    stacked = list(torch.stack(losses).unbind())
    with pytest.raises((ValueError, RuntimeError)):
        mtl_backward(stacked, features=features, tasks_params=heads, shared_params=shared, parallel_chunk_size=1)


def test_dwa_keeps_its_history_outside_the_state():
    """Why `mtl.weighting.dwa` keeps it itself."""
    method = scalarization.DWA()
    for _ in range(2):
        method(torch.tensor([1.0, 2.0]))
        method.step()
    assert method.state_dict() == {}


def test_dwa_accumulates_at_every_call():
    """Why a new object is told the epoch means at each step: a second call is a second batch."""
    method = scalarization.DWA()
    for losses in ([1.0, 1.0], [3.0, 1.0]):
        method(torch.tensor(losses))
    method.step()
    method(torch.tensor([4.0, 1.0]))
    method.step()
    total = method(torch.tensor([1.0, 0.0])).item()
    rates = torch.tensor([4.0 / 2.0, 1.0])  # the mean of 1 and 3 is 2
    assert total == pytest.approx((2 * torch.softmax(rates / 2, 0))[0].item())


def test_constant_ignores_to_and_the_state():
    """Why `mtl.weighting.constant` is our own."""
    method = scalarization.Constant(torch.tensor([1.0, 2.0]))
    assert method.state_dict() == {}
    assert method.to("meta").weights.device.type == "cpu"


def test_random_draws_at_every_call():
    """Why a scalarizer is called once per step."""
    method, losses = scalarization.Random(), torch.tensor([1.0, 2.0, 3.0])
    assert method(losses).item() != method(losses).item()


def test_scalarizer_is_called_once_per_step(tasks, linear_step):
    class Counting(nn.Module):
        calls = 0

        def forward(self, losses):
            self.calls += 1
            return losses.sum()

    counting = Counting()
    Scalarizer(tasks, counting).backward(linear_step(torch.eye(3)))
    assert counting.calls == 1


def test_scalarizer_with_a_parameter_per_task_is_built_for_the_tasks(make_tasks):
    method = Scalarizer(make_tasks(["age", "sick"]), scalarization.UW)
    assert [p.shape for p in method.parameters()] == [(2,)]


def test_scalarizer_reduces_its_parameters_to_the_active_tasks(tasks, linear_step):
    """exp(s_i) L_i - s_i (IMTL-L) with s = 0, log 2, log 3 and no label of the second: weights 1, 0, 3."""
    method = Scalarizer(tasks, scalarization.IMTLL)
    (parameter,) = method.parameters()
    with torch.no_grad():
        parameter.copy_(torch.tensor([1.0, 2.0, 3.0]).log())
    weights = method.backward(linear_step(torch.eye(3), [1.0, 1.0, 1.0], active=[True, False, True]))
    assert weights.tolist() == pytest.approx([1.0, 0.0, 3.0])
    assert parameter.grad.tolist() == pytest.approx([0.0, 0.0, 2.0])  # e^s L - 1


def test_gramian_weights_gets_the_gramian(tasks, linear_step):
    """MGDA of orthogonal gradients of lengths 1 and 2: w proportional to 1 / length^2, (4/5, 1/5)."""
    method = GramianWeights(tasks[:2], aggregation.MGDAWeighting(epsilon=1e-9, max_iters=1000))
    step = linear_step(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    assert method.backward(step).tolist() == pytest.approx([0.8, 0.2], abs=1e-4)
    assert step.shared[0].grad.tolist() == pytest.approx([0.8, 0.4], abs=1e-4)


def test_pcgrad_by_hand(make_tasks, make_weighting, linear_step):
    """g1 = (1, 0), g2 = (-1, 1): each loses its part along the other.

    g1' = g1 - (g1.g2 / |g2|^2) g2 = g1 + g2/2 = (1/2, 1/2); g2' = g2 + g1 = (0, 1). Sum (1/2, 3/2) = 2 g1 + 3/2 g2.
    """
    step = linear_step(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
    weights = make_weighting("pcgrad", make_tasks(["age", "sick"])).backward(step)
    assert weights.tolist() == pytest.approx([2.0, 1.5])
    assert step.shared[0].grad.tolist() == pytest.approx([0.5, 1.5])


def test_mean_is_a_third_each(tasks, make_weighting, linear_step):
    assert make_weighting("mean", tasks).backward(linear_step(torch.eye(3))).tolist() == pytest.approx([1 / 3] * 3)


def test_rlw_is_the_softmax_of_normal_draws(tasks, make_weighting, linear_step):
    method = make_weighting("rlw", tasks)
    torch.manual_seed(11)
    weights = method.backward(linear_step(torch.eye(3)))
    torch.manual_seed(11)
    assert weights.tolist() == pytest.approx(torch.softmax(torch.randn(3), 0).tolist())


def test_gradvac_and_excess_mtl_cannot_be_loaded():
    """One reason why `mtl.weighting.gradvac` and `excess_mtl` keep the state themselves."""
    for method in (aggregation.GradVac(), aggregation.ExcessMTL()):
        method(torch.eye(2))
        with pytest.raises(RuntimeError, match="Unexpected key"):
            type(method)().load_state_dict(method.state_dict())


def test_config_of_a_large_float32_network_is_zero():
    """Why `mtl.weighting.impartial` works on the Gramian: the pseudo-inverse's cut-off is n eps, here above 1."""
    assert aggregation.ConFIG()(torch.ones(1, 2**23 + 2)).abs().max() == 0


def test_imtl_g_of_stationary_gradients_is_not_impartial():
    """Why `mtl.weighting.impartial` does not take the pseudo-inverse of G: 2 g1 + 2 g2 + g3 = 0 is impartial."""
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-2.0, -2.0]], dtype=torch.float64)
    projections = (rows @ aggregation.IMTLG()(rows)) / torch.linalg.vector_norm(rows, dim=1)
    assert projections.max() - projections.min() > 0.1
