"""Do the gradients of the tasks conflict? What a probe of the shared parameters says, for every method alike."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from mtl.weighting.jacobian import gradient_rows


def task_gramian(losses: Sequence[Tensor], active: Sequence[bool], shared: Sequence[Parameter]) -> Tensor:
    """G [K, K] = J J^T of the gradients of K losses at the shared parameters; NaN where a task is not active.

    One backward pass per active task, and a row of all shared parameters each; the graph stays for the step.
    """
    places = [k for k, is_active in enumerate(active) if is_active]
    gramian = losses[0].new_full((len(losses), len(losses)), math.nan)
    if places and shared:
        rows = gradient_rows([losses[k] for k in places], shared, keep_graph=True)
        index = torch.tensor(places, device=gramian.device)
        gramian[index[:, None], index] = rows @ rows.T
    return gramian


def summary(gramians: Sequence[Tensor], names: Sequence[str]) -> dict[str, float | None]:
    """The entries of a history row from the Gramians [K, K] of its probes.

    Per pair: `conflict/cos` (mean cosine), `conflict/share` (share of probes with a negative one), `conflict/gms`
    (gradient magnitude similarity 2 |a| |b| / (|a|^2 + |b|^2), Yu et al. 2020). Per task: `conflict/norm`, the mean.
    `conflict/condition`: geometric mean of the condition number of J over probes (Senushkin et al. 2023). None where
    nothing is defined: no label, or a gradient of zero.
    """
    if not gramians:
        return {}
    stack = torch.stack(list(gramians)).double().cpu()  # [P, K, K]
    norms = stack.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()  # [P, K]
    row = {f"conflict/norm/{name}": _mean(norms[:, k]) for k, name in enumerate(names)}
    for a, b in itertools.combinations(range(len(names)), 2):
        pair = f"{names[a]}/{names[b]}"
        product = norms[:, a] * norms[:, b]
        cosine = torch.where(product > 0, stack[:, a, b] / product, math.nan).clamp(-1, 1)
        similarity = 2 * product / (norms[:, a].square() + norms[:, b].square())
        row[f"conflict/cos/{pair}"] = _mean(cosine)
        row[f"conflict/share/{pair}"] = _mean(torch.where(cosine.isnan(), math.nan, (cosine < 0).double()))
        row[f"conflict/gms/{pair}"] = _mean(similarity)
    return row | {"conflict/condition": _condition(stack)}


def _condition(stack: Tensor) -> float | None:
    logarithms = []
    for gramian in stack:
        places = ~gramian.diagonal().isnan()
        known = gramian[places][:, places]
        if len(known) and known.isfinite().all():
            eigenvalues = torch.linalg.eigvalsh(known)
            if eigenvalues[0] > 0:
                logarithms.append(0.5 * math.log(float(eigenvalues[-1] / eigenvalues[0])))
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else None


def _mean(values: Tensor) -> float | None:
    known = values[values.isfinite()]
    return float(known.mean()) if len(known) else None
