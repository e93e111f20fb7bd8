"""DB-MTL: the update by hand, and that heads see log L, too."""

from __future__ import annotations

import pytest
import torch


def test_by_hand(make_tasks, make_weighting, linear_step):
    """Losses (1/2, 4), gradients e1, 2 e2: of the logarithms 2 e1, e2 / 2; both as long as the longer: (2, 2).

    That is (2, 1) of the gradients of the losses.
    """
    method = make_weighting("db_mtl", make_tasks(["age", "sick"]), "weighting.method.beta=0")
    step = linear_step(torch.diag(torch.tensor([1.0, 2.0])), [0.5, 4.0])
    assert method.backward(step).tolist() == pytest.approx([2.0, 1.0])
    assert step.shared[0].grad.tolist() == pytest.approx([2.0, 2.0])
    assert method.residual.item() == pytest.approx(0, abs=1e-6)


def test_gradients_of_the_logarithms_are_averaged(make_tasks, make_weighting, linear_step):
    """beta = 0.9, from 0: 0.1 (2, 0), then 0.9 * 0.1 (2, 0) + 0.1 (0, 1)."""
    method = make_weighting("db_mtl", make_tasks(["age"]))
    for row, loss, wanted in (([1.0, 0.0], 0.5, [0.2, 0.0]), ([0.0, 1.0], 1.0, [0.18, 0.1])):
        step = linear_step(torch.tensor([row]), [loss])
        method.backward(step)
        assert step.shared[0].grad.tolist() == pytest.approx(wanted)


def test_heads_descend_the_logarithms(bench, make_weighting):
    _, losses = bench.losses()
    sum(loss.log() for loss in losses).backward()
    wanted = {name: p.grad.clone() for name, p in bench.model.heads.named_parameters()}
    bench.clear()
    make_weighting("db_mtl", bench.tasks).backward(bench.step())
    for name, parameter in bench.model.heads.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-5, atol=1e-6)


def test_units_do_not_matter(make_tasks, make_weighting, linear_step):
    rows, losses, units = torch.tensor([[1.0, 0.2], [-0.7, 0.5]]), torch.tensor([0.3, 0.7]), torch.tensor([30.0, 1.0])
    updates = []
    for scale in (torch.ones(2), units):
        step = linear_step(rows * scale[:, None], (losses * scale).tolist())
        make_weighting("db_mtl", make_tasks(["age", "sick"])).backward(step)
        updates.append(step.shared[0].grad)
    torch.testing.assert_close(*updates)


def test_beta_must_be_a_share(tasks, make_weighting):
    with pytest.raises(ValueError, match=r"weighting\.method\.beta=1: expected"):
        make_weighting("db_mtl", tasks, "weighting.method.beta=1")
