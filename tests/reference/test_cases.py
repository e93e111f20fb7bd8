"""Numbers of independent implementations (cases/*.json, float64) through the weighting contract.

`total` meets a case's own tolerance in float64; `backward`, which returns float32 weights, meets 1e-6.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from mtl.tasks import Task, losses
from mtl.weighting.constant import Constant
from mtl.weighting.dwa import DWA

CASES = Path(__file__).parent / "cases"


def cases(family, *methods):
    found = [case for case in json.loads((CASES / f"{family}.json").read_text())["cases"] if case["method"] in methods]
    return [pytest.param(case, id=case["id"]) for case in found]


def assert_near(found, expected, tol, floor=0.0):
    found, expected = (torch.as_tensor(x, dtype=torch.float64) for x in (found, expected))
    limit = max(tol["rtol"], floor) * torch.linalg.vector_norm(expected) + tol["atol"]
    assert torch.linalg.vector_norm(found - expected) <= limit


def named(number, kinds=None):
    """Tasks t0, t1, ... of the given types; only number and likelihood matter here."""
    likelihoods = {"regression": "gaussian", "classification": "softmax"}
    kinds = kinds or ["regression"] * number
    return [Task(f"t{k}", "regression", likelihoods[kind], 1, losses.mse) for k, kind in enumerate(kinds)]


def build(case, make_weighting):
    inputs, number = case["inputs"], len(case["inputs"]["losses"])
    name = {"uw_half": "uncertainty_untyped", "uw_typed": "uncertainty"}.get(case["method"], case["method"])
    tasks = named(number, inputs.get("task_types"))
    if name == "constant":
        method = Constant(tasks, {f"t{k}": weight for k, weight in enumerate(inputs["task_weights"])})
        method.double()
        method.constants.copy_(torch.tensor(inputs["task_weights"], dtype=torch.float64))
        return method
    method = make_weighting(name, tasks).double()
    for parameter in method.parameters():
        with torch.no_grad():
            parameter.copy_(torch.tensor(inputs["log_var"], dtype=torch.float64))
    return method


STATELESS = cases("loss_stateless", "sum", "mean", "constant", "uw_half", "uw_typed", "rlw")


@pytest.fixture
def given_draw(monkeypatch):
    """torchjd's random weighting takes its normal numbers from `torch.randn`; the case gives them."""

    def give(case):
        if draw := case["inputs"].get("draw"):

            def randn(number, **options):
                assert number == len(draw)
                return torch.tensor(draw, **options)

            monkeypatch.setattr(torch, "randn", randn)

    return give


def test_there_are_cases():
    assert len(STATELESS) == 24
    assert len(PCGRAD) == 29
    assert len(DWA_CASES) == 4
    assert len(WINDOWS) == 2


@pytest.mark.parametrize("case", STATELESS)
def test_total(case, make_weighting, given_draw):
    method = build(case, make_weighting)
    values = torch.tensor(case["inputs"]["losses"], dtype=torch.float64, requires_grad=True)
    given_draw(case)
    total = method.total(values)
    total.backward()
    assert_near(total.detach(), case["expected"]["total"], case["tol"])
    assert_near(values.grad, case["expected"]["weights"], case["tol"])
    if "param_grads" in case["expected"]:
        (parameter,) = method.parameters()
        assert_near(parameter.grad, case["expected"]["param_grads"], case["tol"])


@pytest.mark.parametrize("case", STATELESS)
def test_effective_weights(case, make_weighting, given_draw, linear_step):
    method = build(case, make_weighting).float()
    values, expected = case["inputs"]["losses"], case["expected"]
    given_draw(case)
    step = linear_step(torch.eye(len(values)), values)
    assert_near(method.backward(step), expected["weights"], case["tol"], floor=1e-6)
    assert_near(step.shared[0].grad, expected["weights"], case["tol"], floor=1e-6)
    if "param_grads" in expected:
        (parameter,) = method.parameters()
        assert_near(parameter.grad, expected["param_grads"], case["tol"], floor=1e-6)


DWA_CASES = cases("dwa", "dwa")


@pytest.mark.parametrize("case", DWA_CASES)
def test_dwa(case, linear_step):
    epochs, expected = case["inputs"]["losses"], case["expected"]
    number = len(epochs[0][0])
    method = DWA(named(number), case["hyper"]["temperature"])
    for batches, wanted in zip(epochs, expected["weights_per_epoch"], strict=True):
        for batch in batches:
            weights = method.backward(linear_step(torch.eye(number), batch))
            assert_near(weights, wanted, case["tol"], floor=1e-6)
            values = torch.tensor(batch, dtype=torch.float64, requires_grad=True)
            method.total(values).backward()
            assert_near(values.grad, wanted, case["tol"])
        method.end_epoch(torch.tensor(batches, dtype=torch.float64).mean(0), {})


WINDOWS = cases("dwa", "dwa_window")


@pytest.mark.parametrize("case", WINDOWS)
def test_dwa_over_a_window_of_steps(case, linear_step):
    hyper, steps = case["hyper"], case["inputs"]["losses_per_step"]
    number = len(steps[0])
    method = DWA(named(number), hyper["temperature"], hyper["iteration_window"]).double()
    for values, wanted in zip(steps, case["expected"]["weights_per_step"], strict=True):
        assert_near(method.backward(linear_step(torch.eye(number).double(), values)), wanted, case["tol"], floor=1e-6)
        losses = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        method.total(losses).backward()
        assert_near(losses.grad, wanted, case["tol"])


PCGRAD = cases("pcgrad", "pcgrad")


@pytest.mark.parametrize("case", PCGRAD)
def test_pcgrad(case, make_weighting, linear_step, monkeypatch):
    """torchjd draws the order of task i with `torch.randperm` at its i-th call; the case gives it, i itself last."""
    rows = torch.tensor(case["inputs"]["grads"], dtype=torch.float64)
    order = [[*others, i] for i, others in enumerate(case["hyper"]["order"])]
    draws = iter(order)
    monkeypatch.setattr(torch, "randperm", lambda number: torch.tensor(next(draws)))
    step = linear_step(rows)
    weights = make_weighting("pcgrad", named(len(rows))).backward(step)
    assert next(draws, None) is None, "one order per task"
    assert_near(step.shared[0].grad, case["expected"]["grad"], case["tol"])
    if case["unique_weights"]:
        assert_near(weights, case["expected"]["weights"], case["tol"], floor=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_pcgrad_with_the_order_it_draws_itself(make_weighting, tasks, linear_step, seed):
    """Algorithm 1 of the paper written down again on the gradients, with torch's own permutations."""
    rows = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    rows[1] -= 1.5 * rows[0]
    torch.manual_seed(seed)
    wanted = torch.zeros(7, dtype=torch.float64)
    for i in range(3):
        gradient = rows[i].clone()
        for j in torch.randperm(3).tolist():
            if j != i and (product := gradient @ rows[j]) < 0:
                gradient -= product / rows[j].square().sum() * rows[j]
        wanted += gradient
    torch.manual_seed(seed)
    step = linear_step(rows)
    make_weighting("pcgrad", tasks).backward(step)
    torch.testing.assert_close(step.shared[0].grad, wanted)
    assert isinstance(step.shared[0], nn.Parameter)
