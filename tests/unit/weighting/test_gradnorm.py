"""GradNorm: one step of its weights by hand, against autograd, and its edges."""

from __future__ import annotations

import pytest
import torch
from torch import nn

SGD = ("weighting.method.optimizer=sgd", "weighting.method.lr=0.1")


def train(method, step):
    weights = method.backward(step)
    method.after_step(step)
    return weights.tolist()


def test_by_hand(make_tasks, make_weighting, linear_step):
    """First step: r = (1, 1). Norms (1, 3), mean G = 2: derivative (-1, 3); w = (1.1, 0.7), times 2 / 1.8."""
    method = make_weighting("gradnorm", make_tasks(["age", "sick"]), *SGD)
    rows = torch.diag(torch.tensor([1.0, 3.0]))
    assert train(method, linear_step(rows, [2.0, 5.0])) == [1.0, 1.0]
    assert method.learnt.value.tolist() == pytest.approx([2.2 / 1.8, 1.4 / 1.8])
    assert method.initial.tolist() == [2.0, 5.0]
    # The network had the weights of before; now it has these.
    assert train(method, linear_step(rows, [2.0, 5.0])) == pytest.approx([2.2 / 1.8, 1.4 / 1.8])


def test_the_derivative_is_autograds(make_bench, tasks, make_weighting):
    """On a network: sum |norm(w_i grad L_i) - target| differentiated by autograd, the target held constant."""
    bench = make_bench(tasks)
    method = make_weighting("gradnorm", tasks, *SGD)
    method.initial.copy_(torch.tensor([0.5, 0.6, 3.0]))
    step = bench.step()
    weights = nn.Parameter(torch.ones(3))
    norms = []
    for k, loss in enumerate(step.losses):
        gradient = torch.autograd.grad(weights[k] * loss, step.last_shared, create_graph=True)
        norms.append(torch.cat([g.flatten() for g in gradient]).norm())
    rates = torch.stack(step.losses).detach() / method.initial
    target = (torch.stack(norms).mean() * (rates / rates.mean()) ** 1.5).detach()
    (torch.stack(norms) - target).abs().sum().backward()
    wanted = (1 - 0.1 * weights.grad).clamp(min=0)
    bench.clear()
    train(method, bench.step())
    torch.testing.assert_close(method.learnt.value, 3 * wanted / wanted.sum())


def test_the_slow_task_gets_more(make_tasks, make_weighting, linear_step):
    """Equal norms; age has halved, sick has not moved."""
    method = make_weighting("gradnorm", make_tasks(["age", "sick"]))
    for values in ([1.0, 1.0], [0.5, 1.0], [0.5, 1.0]):
        weights = train(method, linear_step(torch.eye(2), values))
    assert weights[0] < 1 < weights[1]


def test_a_weight_does_not_become_negative(make_tasks, make_weighting, linear_step):
    method = make_weighting("gradnorm", make_tasks(["age", "sick"]), SGD[0], "weighting.method.lr=1")
    rows = torch.diag(torch.tensor([1.0, 3.0]))
    train(method, linear_step(rows, [1.0, 1.0]))
    assert method.learnt.value.tolist() == [2.0, 0.0]
    train(method, linear_step(rows, [1.0, 1.0]))  # and comes back
    assert method.learnt.value[1] > 0


def test_inactive_tasks_keep_their_weight(tasks, make_weighting, linear_step):
    method = make_weighting("gradnorm", tasks)
    rows = torch.diag(torch.tensor([1.0, 3.0, 0.5]))
    for _ in range(3):
        train(method, linear_step(rows, [1.0, 1.0, 1.0]))
    before = method.learnt.value.tolist()
    train(method, linear_step(rows, [1.0, 1.0, 1.0], [True, False, True]))
    after = method.learnt.value.tolist()
    assert after[1] == before[1]
    assert after[0] != before[0]
    assert sum(after) == pytest.approx(3.0)


def test_frozen_backbone_is_refused(bench, make_weighting):
    bench.model.backbone.requires_grad_(False)
    with pytest.raises(ValueError, match=r"GradNorm compares gradients at the last shared layer.*unfreeze"):
        make_weighting("gradnorm", bench.tasks).backward(bench.step())


@pytest.mark.parametrize(("key", "value"), [("alpha", -1), ("lr", 0), ("optimizer", "rmsprop")])
def test_wrong_numbers(tasks, make_weighting, key, value):
    with pytest.raises(ValueError, match=rf"weighting\.method\.{key}={value}: expected"):
        make_weighting("gradnorm", tasks, f"weighting.method.{key}={value}")
