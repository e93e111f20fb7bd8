"""How many reference cases our gradient-based methods and other implementations meet, as a Markdown table.

    python benchmarks/reference_cases.py

Ours run here in float64, on the cases of tests/reference/cases. What torchjd, LibMTL, the authors' codes and others
gave was recorded with the cases: the relative error of each against the solution. A case is met where the gradient lies
within the case's own tolerance; cases without an answer do not count. `a/b`: a met of b that were recorded; for torchjd
the settings are given where the recorded ones are not its defaults.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from mtl.config import bind, compose
from mtl.tasks import Task, losses
from mtl.weighting.step import Step

CASES = Path(__file__).parents[1] / "tests/reference/cases"
#: family (file) -> YAML, and its settings from those of the case
FAMILIES = {
    "mgda": ("mgda", {"normalize": "normalisation"}),
    "cagrad": ("cagrad", {"c": "c", "rescale": "rescale"}),
    "imtlg": ("imtl_g", {}),
    "nash_mtl": ("nash_mtl", {}),
    "aligned_mtl": ("aligned_mtl", {"scale": "scale_mode"}),
    "fairgrad": ("fairgrad", {"alpha": "alpha"}),
    "upgrad": ("upgrad", {"reg_eps": "reg_eps"}),
    "dualproj": ("dualproj", {"reg_eps": "reg_eps"}),
}


def gradient(family: str, case: dict[str, Any]) -> torch.Tensor:
    """The update [n] that our method makes of the case's gradients."""
    name, settings = FAMILIES[family]
    rows = torch.tensor(case["inputs"]["grads"], dtype=torch.float64)
    changes = [f"weighting.method.{key}={case['hyper'][theirs]}" for key, theirs in settings.items()]
    if family == "nash_mtl":
        changes.append("weighting.method.max_norm=null")
    tasks = [Task(f"t{k}", "regression", "gaussian", 1, losses.mse) for k in range(len(rows))]
    theta = nn.Parameter(torch.zeros(rows.shape[1], dtype=rows.dtype))
    values = [row @ theta for row in rows]
    heads: list[list[nn.Parameter]] = [[] for _ in rows]
    step = Step(values, [True] * len(rows), torch.zeros(1, 1), [theta], [theta], heads, 0, 0)
    bind(compose([f"weighting={name}", *changes])["weighting"]["method"])(tasks).backward(step)
    assert theta.grad is not None
    return theta.grad


def table(family: str) -> Iterator[tuple[str, int, int]]:
    """(implementation, cases met, cases recorded), ours first and torchjd's next."""
    found: dict[str, list[bool]] = {}
    for case in json.loads((CASES / f"{family}.json").read_text())["cases"]:
        if case["expected"] is None:
            continue
        expected = torch.tensor(case["expected"]["grad"], dtype=torch.float64)
        length = torch.linalg.vector_norm(expected).item()
        limit = case["tol"]["rtol"] * length + case["tol"]["atol"]
        distance = torch.linalg.vector_norm(gradient(family, case) - expected).item()
        found.setdefault("ours", []).append(distance <= limit)
        for name, error in case["checks"].items():
            # Recorded as a part of the expected length; where that is zero, as it is.
            distance = float(error) * (length if length > 1e-9 else 1.0)
            found.setdefault(name, []).append(distance <= limit)
    for name in sorted(found, key=lambda name: (name != "ours", not name.startswith("torchjd"), name)):
        yield name, sum(found[name]), len(found[name])


def main() -> None:
    torch.set_num_threads(1)
    print("| family | implementation | met |\n|---|---|---|")
    for family in FAMILIES:
        for name, met, number in table(family):
            print(f"| {family} | {name.replace('|', '‖')} | {met}/{number} |", flush=True)


if __name__ == "__main__":
    main()
