"""Gradient-based methods on the numbers of independent implementations (cases/*.json), through the contract.

`expected` there is a 60-digit solution of the paper's own problem. The gradient meets a case's own tolerance in
float64; weights, which `backward` returns in float32, meet 1e-6 where they are unique.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mtl.tasks import Task, losses

CASES = Path(__file__).parent / "cases"
#: family (file) -> (YAML, number of cases, number of those without an answer)
FAMILIES = {
    "mgda": ("mgda", 17, 0),
    "cagrad": ("cagrad", 35, 5),
    "imtlg": ("imtl_g", 17, 3),
    "nash_mtl": ("nash_mtl", 17, 4),
    "aligned_mtl": ("aligned_mtl", 17, 0),
    "fairgrad": ("fairgrad", 36, 1),
    "upgrad": ("upgrad", 35, 0),
    "dualproj": ("dualproj", 35, 0),
}


def read(family):
    return json.loads((CASES / f"{family}.json").read_text())["cases"]


def cases(solvable, *families):
    return [
        pytest.param(FAMILIES[family][0], case, id=case["id"])
        for family in families or FAMILIES
        for case in read(family)
        if (case["expected"] is not None) == solvable
    ]


def overrides(name, case):
    """The command line that gives the method the case's hyperparameters."""
    hyper = case["hyper"]
    return {
        "mgda": lambda: [f"normalize={hyper['normalisation']}"],
        "cagrad": lambda: [f"c={hyper['c']}", f"rescale={hyper['rescale']}"],
        "nash_mtl": lambda: ["max_norm=null"],
        "aligned_mtl": lambda: [f"scale={hyper['scale_mode']}"],
        "fairgrad": lambda: [f"alpha={hyper['alpha']}"],
        "upgrad": lambda: [f"reg_eps={hyper['reg_eps']}"],
        "dualproj": lambda: [f"reg_eps={hyper['reg_eps']}"],
    }.get(name, list)()


@pytest.fixture
def run(make_weighting, linear_step):
    """`run(name, case, "c=1")`: rows [K, n], the gradient [n] that the method makes of them, its weights [K]."""

    def call(name, case, *changes):
        rows = torch.tensor(case["inputs"]["grads"], dtype=torch.float64)
        tasks = [Task(f"t{k}", "regression", "gaussian", 1, losses.mse) for k in range(len(rows))]
        keys = [f"weighting.method.{change}" for change in (*overrides(name, case), *changes)]
        step = linear_step(rows)
        weights = make_weighting(name, tasks, *keys).backward(step)
        return rows, step.shared[0].grad, weights.double()

    return call


def assert_near(found, expected, tol, floor=0.0):
    expected = torch.tensor(expected, dtype=torch.float64)
    limit = max(tol["rtol"], floor) * torch.linalg.vector_norm(expected) + tol["atol"]
    assert torch.linalg.vector_norm(found - expected) <= limit


@pytest.mark.parametrize("family", FAMILIES)
def test_there_are_cases(family):
    _, number, undefined = FAMILIES[family]
    assert len(read(family)) == number
    assert sum(case["expected"] is None for case in read(family)) == undefined


@pytest.mark.parametrize(("name", "case"), cases(True))
def test_case(name, case, run):
    _, gradient, weights = run(name, case)
    assert_near(gradient, case["expected"]["grad"], case["tol"])
    if case["unique_weights"]:
        assert_near(weights, case["expected"]["weights"], case["tol"], floor=1e-6)


@pytest.mark.parametrize("rescale", [1, 2])
@pytest.mark.parametrize(("name", "case"), cases(True, "cagrad"))
def test_rescaled_cagrad(name, case, rescale, run):
    _, gradient, _ = run(name, case, f"rescale={rescale}")
    assert_near(gradient, case["expected"][f"grad_rescale{rescale}"], case["tol"])


@pytest.mark.parametrize(("name", "case"), cases(True, "nash_mtl"))
def test_clipped_nash(name, case, run):
    _, gradient, weights = run(name, case, "max_norm=1")
    assert_near(gradient, case["expected"]["grad_max_norm_1"], case["tol"])
    assert_near(weights, case["expected"]["weights_max_norm_1"], case["tol"], floor=1e-6)


@pytest.mark.parametrize(("name", "case"), cases(False))
def test_case_without_an_answer(name, case, run):
    """What the docstrings say: no NaN, and no weights left over from somewhere."""
    rows, gradient, weights = run(name, case)
    lengths, number = torch.linalg.vector_norm(rows, dim=1), len(rows)
    zero = lengths == 0
    if name == "cagrad":
        # Of the best directions the one nearest to the mean gradient; here no task is in conflict with the mean.
        assert (rows @ rows.mean(0)).min() >= 0
        assert zero.any()
        torch.testing.assert_close(gradient, rows.mean(0))
        assert weights.tolist() == pytest.approx([1 / number] * number)
    elif zero.any():
        assert weights[zero].tolist() == [0.0]
        projections = (rows @ gradient)[~zero]
        if name == "imtl_g":
            assert weights.sum().item() == pytest.approx(1)
            torch.testing.assert_close(
                projections / lengths[~zero], (projections / lengths[~zero])[:1].expand(number - 1)
            )
        else:
            torch.testing.assert_close(projections * weights[~zero], torch.ones(number - 1).double(), rtol=1e-6, atol=0)
    else:
        assert name in ("nash_mtl", "fairgrad")
        assert np.linalg.svd(rows, compute_uv=False)[-1] < 1e-12
        assert weights.tolist() == [0.0] * number
        assert gradient.tolist() == [0.0] * rows.shape[1]
