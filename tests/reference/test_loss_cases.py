"""Loss-based methods and GradNorm against numbers of independent implementations (cases/*.json, float64).

In float64 through `total` and `loss_weights` each case's own tolerance is met; `backward` returns float32: 1e-6.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from test_cases import assert_near, cases, named

from mtl.tasks import Task, losses

TASK_TYPES = {"uw_full": "laplace", "uw_samsung": "softmax"}  # these codes have one form of Kendall's for every task
NAMES = {
    "uw_full": "uncertainty",
    "uw_samsung": "uncertainty",
    "liebel_koerner": "uncertainty_revised",
    "si_log": "log",
    "stch_libmtl": "stch",
    "stch_libmtl_warmup": "stch",
    "stch_paper": "stch",
}


def make_exact(case):
    """The six digits of the preferences sum to 1 within 1e-6 and ours to 1: mu log sum exp(s x / mu) is s times the
    same of x at mu / s."""
    if case["method"] == "stch_paper":
        total = math.fsum(case["inputs"]["preference"])
        case["hyper"]["mu"] /= total
        case["expected"]["total"] /= total
        case["expected"]["weights"] = [weight / total for weight in case["expected"]["weights"]]


STATELESS = cases("loss_stateless", "gls", "uw_o", "uw_so", "imtl_l", *TASK_TYPES, *NAMES)
for parameters in STATELESS:
    make_exact(*parameters.values)


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def build(case, make_weighting):
    """The method with the case's hyperparameters, parameters and reference, in float64."""
    inputs, hyper = case["inputs"], case["hyper"]
    name = NAMES.get(case["method"], case["method"])
    tasks = named(len(inputs["losses"]))
    if case["method"] in TASK_TYPES:
        tasks = [replace(task, likelihood=TASK_TYPES[case["method"]]) for task in tasks]
    options = {"temperature": "tau", "mu": "mu"}
    overrides = [f"weighting.method.{options[key]}={value}" for key, value in hyper.items() if key in options]
    if case["method"] == "stch_paper":
        overrides.append("weighting.method.logarithm=false")
    method = make_weighting(name, tasks, *overrides).double()
    for key in {"log_var", "sigma", "log_scale"} & set(inputs):
        (parameter,) = method.parameters()
        with torch.no_grad():
            parameter.copy_(double(inputs[key]))
    if "preference" in inputs:
        method.preference.copy_(double(inputs["preference"]))
    if means := inputs.get("nadir", inputs.get("ideal")):
        method.end_epoch(double(means), {})  # the one epoch of warm-up
    return method


def test_there_are_cases():
    assert len(STATELESS) == 56
    counts = [len(found) for found in (FAMO, COV, DTP, GRADNORM)]
    assert counts == [5, 4, 4, 14]


@pytest.mark.parametrize("case", STATELESS)
def test_total(case, make_weighting):
    method, expected = build(case, make_weighting), case["expected"]
    values = double(case["inputs"]["losses"]).requires_grad_()
    total = method.total(values)
    total.backward()
    # Codes for STCH leave a term out of the value, not of the gradient.
    assert_near(total.detach(), expected.get("total_with_max", expected["total"]), case["tol"])
    assert_near(values.grad, expected["weights"], case["tol"])
    if "param_grads" in expected:
        (parameter,) = method.parameters()
        assert_near(parameter.grad, expected["param_grads"], case["tol"])


@pytest.mark.parametrize("case", STATELESS)
def test_effective_weights(case, make_weighting, linear_step):
    method, values, expected = build(case, make_weighting), case["inputs"]["losses"], case["expected"]
    step = linear_step(torch.eye(len(values), dtype=torch.float64), values)
    assert_near(method.backward(step), expected["weights"], case["tol"], floor=1e-6)
    assert_near(step.shared[0].grad, expected["weights"], case["tol"])
    if "param_grads" in expected:
        (parameter,) = method.parameters()
        assert_near(parameter.grad, expected["param_grads"], case["tol"])


FAMO = cases("famo", "famo")


@pytest.mark.parametrize("case", FAMO)
def test_famo(case, make_weighting, linear_step):
    inputs, hyper, expected, tol = case["inputs"], case["hyper"], case["expected"], case["tol"]
    number = len(inputs["min_losses"])
    decay = f"weighting.method.weight_decay={hyper['gamma']}"
    method = make_weighting("famo", named(number), f"weighting.method.lr={hyper['w_lr']}", decay).double()
    method.bounds.copy_(double(inputs["min_losses"]))
    for n, (before, after) in enumerate(zip(inputs["losses_before"], inputs["losses_after"], strict=True)):
        assert_near(torch.softmax(method.xi.value, 0), expected["z_per_step"][n], tol)
        assert_near(method.total(double(before)), expected["total_per_step"][n], tol)
        assert_near(method.loss_weights(double(before)), expected["weights_per_step"][n], tol)
        step = linear_step(torch.eye(number, dtype=torch.float64), before)
        again = list(double(after))
        step = replace(step, forward=lambda batch, again=again: again)
        assert_near(method.backward(step), expected["weights_per_step"][n], tol, floor=1e-6)
        method.after_step(step)
        assert_near(method.xi.value, expected["logits_after_update"][n], tol)


COV = cases("cov_weighting", "cov_weighting")


@pytest.mark.parametrize("case", COV)
def test_cov(case, make_weighting, linear_step):
    steps = case["inputs"]["losses_per_step"]
    number, decay = len(steps[0]), case["hyper"]["decay"]
    method = make_weighting("cov", named(number), f"weighting.method.decay={'null' if decay is None else decay}")
    for values, wanted in zip(steps, case["expected"]["weights_per_step"], strict=True):
        assert_near(method.loss_weights(double(values)), wanted, case["tol"])
        step = linear_step(torch.eye(number, dtype=torch.float64), values)
        assert_near(method.backward(step), wanted, case["tol"], floor=1e-6)
        method.after_step(step)


DTP = cases("dtp", "dtp")


@pytest.mark.parametrize("case", DTP)
def test_dtp(case, make_weighting, linear_step):
    steps, hyper, expected = case["inputs"]["kpi_per_step"], case["hyper"], case["expected"]
    number = len(steps[0])
    tasks = [Task(f"t{k}", "binary", "softmax", 1, losses.mse) for k in range(number)]
    overrides = [f"weighting.method.{key}={hyper[key]}" for key in ("gamma", "alpha")]
    method = make_weighting("dtp", tasks, *overrides)
    for n, kpi in enumerate(steps):
        method.end_epoch(torch.ones(number), {f"t{k}": {"accuracy": value} for k, value in enumerate(kpi)})
        assert_near(method.performance, expected["smoothed_kpi"][n], case["tol"])
        wanted = expected["weights_per_step"][n]
        assert_near(method.loss_weights(torch.ones(number, dtype=torch.float64)), wanted, case["tol"])
        assert_near(method.backward(linear_step(torch.eye(number))), wanted, case["tol"], floor=1e-6)


GRADNORM = [*cases("gradnorm", "gradnorm"), *cases("gradnorm", "gradnorm_softmax")]


@pytest.mark.parametrize("case", GRADNORM)
def test_gradnorm(case, make_weighting, linear_step):
    """Loss k has the gradient n_k e_k, whose norm at the last shared layer is n_k."""
    inputs, hyper, expected, tol = case["inputs"], case["hyper"], case["expected"], case["tol"]
    number = len(inputs["initial_losses"])
    softmax = case["method"] == "gradnorm_softmax"
    options = {"alpha": hyper["alpha"], "lr": hyper["lr"], "optimizer": hyper["optimizer"].split()[0]}
    overrides = [f"weighting.method.{key}={value}" for key, value in (options | {"softmax": softmax}).items()]
    method = make_weighting("gradnorm", named(number), *overrides).double()
    if inputs["initial_losses"] != inputs["losses"][0]:
        method.initial.copy_(double(inputs["initial_losses"]))
    before = [1.0] * number
    for n, (values, norms) in enumerate(zip(inputs["losses"], inputs["grad_norms_unweighted"], strict=True)):
        step = linear_step(torch.diag(double(norms)), values)
        assert_near(method.backward(step), before, tol, floor=1e-6)
        method.after_step(step)
        before = expected["weights_after"][n]
        assert_near(method.current(), before, tol)
    if softmax:
        assert_near(method.learnt.value, expected["s_final"], tol)
    assert_near(method.initial, inputs["initial_losses"], tol)
