"""Gradient-based methods by hand, beside torchjd's own classes, and what each refuses."""

from __future__ import annotations

import pytest
import torch
from torchjd import aggregation

ROWS = torch.tensor([[1.0, 0.2, 0.0, 0.3], [-2.1, 1.5, 0.3, 0.1], [0.1, -0.6, 0.8, -0.2]])


def random_rows(seed):
    return torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.1 * seed


@pytest.mark.parametrize(
    ("normalize", "wanted"),
    [
        # Orthogonal gradients of lengths 1 and 2 with losses 1 and 4: w proportional to (n / length)^2.
        ("none", [4 / 5, 1 / 5]),
        ("l2", [1 / 2, 1 / 2]),
        ("loss", [1 / 5, 4 / 5]),
        ("loss+", [1 / 17, 16 / 17]),
    ],
)
def test_mgda_normalises(normalize, wanted, make_tasks, make_weighting, linear_step):
    method = make_weighting("mgda", make_tasks(["age", "sick"]), f"weighting.method.normalize={normalize}")
    step = linear_step(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), [1.0, 4.0])
    assert method.backward(step).tolist() == pytest.approx(wanted)
    assert step.shared[0].grad.tolist() == pytest.approx([wanted[0], 2 * wanted[1]])  # of the gradients as they are


@pytest.mark.parametrize("normalize", ["loss", "loss+"])
def test_mgda_and_losses_that_cannot_be_divided_by(normalize, tasks, make_weighting, linear_step):
    method = make_weighting("mgda", tasks, f"weighting.method.normalize={normalize}")
    weights = method.backward(linear_step(ROWS, [1.0, -0.5, 2.0]))
    assert weights.isnan().tolist() == [False, True, False]
    weights = method.backward(linear_step(ROWS, [1.0, 0.0, 2.0]))  # infinitely long, so not the nearest
    assert weights[1].item() == pytest.approx(0, abs=1e-6)
    assert weights.sum().item() == pytest.approx(1)


def test_mgda_normalised_by_length_leaves_a_zero_gradient_zero(tasks, make_weighting, linear_step):
    rows = ROWS.clone()
    rows[0] = 0
    assert make_weighting("mgda", tasks, "weighting.method.normalize=l2").backward(linear_step(rows)).tolist() == [
        1,
        0,
        0,
    ]


def test_aligned_mtl_is_the_sum(tasks, make_weighting, linear_step):
    for scale in ("min", "median", "rmse"):
        step = linear_step(ROWS.double())
        make_weighting("aligned_mtl", tasks, f"weighting.method.scale={scale}").backward(step)
        mean = aggregation.AlignedMTL(scale_mode=scale)(ROWS.double())
        torch.testing.assert_close(step.shared[0].grad, 3 * mean)


def test_conflict_free_beside_torchjd(tasks, make_weighting, linear_step):
    for seed in range(5):
        rows = random_rows(seed)
        step = linear_step(rows)
        make_weighting("conflict_free", tasks).backward(step)
        torch.testing.assert_close(step.shared[0].grad, aggregation.ConFIG()(rows))


def test_imtl_g_beside_torchjd(tasks, make_weighting, linear_step):
    for seed in range(5):
        rows = random_rows(seed)
        step = linear_step(rows)
        make_weighting("imtl_g", tasks).backward(step)
        torch.testing.assert_close(step.shared[0].grad, aggregation.IMTLG()(rows))


def test_short_gradients_count_in_float32(tasks, make_weighting, linear_step):
    """Lengths of 1, 1e-4 and 1e4, in the precision of training: the solution is that of float64."""
    rows = ROWS * torch.tensor([[1.0], [1e-4], [1e4]])
    for name in ("imtl_g", "conflict_free", "nash_mtl", "upgrad", "dualproj", "cagrad", "mgda"):
        one, two = linear_step(rows), linear_step(rows.double())
        for step in (one, two):
            make_weighting(name, tasks).backward(step)
        torch.testing.assert_close(one.shared[0].grad.double(), two.shared[0].grad, rtol=1e-3, atol=1e-9, msg=name)


def test_rgw_is_the_softmax_of_normal_draws(tasks, make_weighting, linear_step):
    torch.manual_seed(11)
    weights = make_weighting("rgw", tasks).backward(linear_step(ROWS))
    torch.manual_seed(11)
    assert weights.tolist() == pytest.approx(torch.softmax(torch.randn(3), 0).tolist())


def test_graddrop_keeps_one_sign_of_each_number(tasks, make_weighting, linear_step):
    for seed in range(20):
        torch.manual_seed(seed)
        step = linear_step(ROWS)
        make_weighting("graddrop", tasks).backward(step)
        positive, negative = ROWS.clamp(min=0).sum(0), ROWS.clamp(max=0).sum(0)
        gradient = step.shared[0].grad
        assert (torch.isclose(gradient, positive) | torch.isclose(gradient, negative)).all()


@pytest.mark.parametrize("order", [torch.arange, lambda number: torch.arange(number - 1, -1, -1)])
def test_gradvac_beside_torchjd(order, tasks, make_weighting, linear_step, monkeypatch):
    monkeypatch.setattr(torch, "randperm", order)  # torchjd draws orders of the others, not of all
    method, theirs = make_weighting("gradvac", tasks).double(), aggregation.GradVac(beta=0.5)
    for seed in range(6):
        rows = random_rows(seed)
        step = linear_step(rows)
        method.backward(step)
        torch.testing.assert_close(step.shared[0].grad, theirs(rows))
    torch.testing.assert_close(method.targets, theirs.gramian_weighting._phi_t)


def test_gradvac_begins_as_pcgrad(make_tasks, make_weighting, linear_step):
    """g1 = (1, 0), g2 = (-1, 1), cosine -1/sqrt 2: raised to 0. Then the target is half the cosine met."""
    method = make_weighting("gradvac", make_tasks(["age", "sick"]))
    rows = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    assert method.backward(linear_step(rows)).tolist() == pytest.approx([2.0, 1.5])
    assert method.targets.flatten().tolist() == pytest.approx([0, -(0.5**1.5), -(0.5**1.5), 0])


@pytest.mark.parametrize("left_out", ["inactive", "zero"])
def test_gradvac_leaves_targets_of_others_alone(left_out, tasks, make_weighting, linear_step):
    method = make_weighting("gradvac", tasks)
    method.backward(linear_step(ROWS))
    before, rows = method.targets.clone(), ROWS.clone()
    if left_out == "zero":
        rows[1] = 0
    weights = method.backward(linear_step(rows, active=[True, left_out == "zero", True]))
    assert weights[1] == 0
    assert torch.equal(method.targets[1], before[1])
    assert torch.equal(method.targets[:, 1], before[:, 1])
    assert not torch.equal(method.targets, before)


@pytest.mark.parametrize("warmup", [1, 3])
def test_excess_mtl_beside_torchjd(warmup, tasks, make_weighting, linear_step):
    settings = ("weighting.method.robust_step_size=0.3", f"weighting.method.warmup={warmup}")
    method = make_weighting("excess_mtl", tasks, *settings).double()
    theirs = aggregation.ExcessMTL(robust_step_size=0.3, n_warmup_steps=warmup)
    for seed in range(8):
        rows = random_rows(seed)
        step = linear_step(rows)
        weights = method.backward(step)
        torch.testing.assert_close(step.shared[0].grad, theirs(rows))
        assert weights.sum().item() == pytest.approx(1)
    torch.testing.assert_close(method.squares, theirs.weighting._sq_grad_sum)
    assert weights.max() - weights.min() > 0.05


def test_excess_mtl_and_an_inactive_task(tasks, make_weighting, linear_step):
    """It keeps what it has; the others share theirs anew, and are equal until each has had its warm-up."""
    method = make_weighting("excess_mtl", tasks, "weighting.method.warmup=2", "weighting.method.robust_step_size=1")
    method.backward(linear_step(ROWS))
    method.backward(linear_step(ROWS, active=[True, False, True]))
    assert method.steps.tolist() == [2, 1, 2]
    squares, excess = method.squares[1].clone(), method.first_excess[1].clone()
    weights = method.backward(linear_step(ROWS * 3, active=[True, False, True]))
    assert weights[1] == 0
    assert weights.sum().item() == pytest.approx(1)
    assert method.log_weights[1] == 0
    assert torch.equal(method.squares[1], squares)
    assert torch.equal(method.first_excess[1], excess)
    assert method.log_weights.exp().sum().item() == pytest.approx(3, rel=1e-5)  # what it began with
    before = method.log_weights.clone()
    method.backward(linear_step(ROWS))  # the second step of the task in the middle: a warm-up step for all
    torch.testing.assert_close(method.log_weights, before)
    method.backward(linear_step(ROWS * torch.tensor([[9.0], [1.0], [1.0]])))
    assert method.log_weights.argmax() == 0


def test_excess_mtl_and_a_zero_gradient(tasks, make_weighting, linear_step):
    """No warm-up step: its measure is not zero, by which later gradients would be divided."""
    method = make_weighting("excess_mtl", tasks)
    rows = ROWS.clone()
    rows[1] = 0
    for _ in range(3):
        assert method.backward(linear_step(rows)).isfinite().all()
    assert method.steps.tolist() == [3, 0, 3]
    weights = method.backward(linear_step(ROWS))
    assert weights.max() < 0.4


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("mgda", "normalize=l1", r"normalize=l1: expected one of none, l2, loss, loss\+\."),
        ("cagrad", "c=-1", r"c=-1: expected a finite number of at least 0\."),
        ("cagrad", "c=nan", r"c=nan: expected a finite number"),
        ("cagrad", "rescale=3", r"rescale=3: expected 0, 1 or 2\."),
        ("nash_mtl", "max_norm=0", r"max_norm=0: expected a number above 0, or null\."),
        ("fairgrad", "alpha=0", r"alpha=0: expected a finite number above 0\."),
        ("fairgrad", "alpha=inf", r"alpha=inf: expected a finite number above 0\."),
        ("upgrad", "reg_eps=-1", r"reg_eps=-1: expected a finite number of at least 0\."),
        ("dualproj", "reg_eps=-1", r"reg_eps=-1: expected a finite number of at least 0\."),
        ("aligned_mtl", "scale=max", r"scale=max: expected one of min, median, rmse\."),
        ("gradvac", "beta=2", r"beta=2: expected a number from 0 to 1\."),
        ("excess_mtl", "robust_step_size=0", r"robust_step_size=0: expected a finite number above 0\."),
        ("excess_mtl", "warmup=0", r"warmup=0: expected a number of steps of at least 1\."),
    ],
)
def test_refuses(name, change, sentence, tasks, make_weighting):
    with pytest.raises(ValueError, match=rf"weighting\.method\.{sentence}"):
        make_weighting(name, tasks, f"weighting.method.{change}")
