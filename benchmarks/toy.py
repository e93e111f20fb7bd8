"""The two-objective toy of CAGrad (Liu et al. 2021), Nash-MTL (Navon et al. 2022) and FAMO (Liu et al. 2023).

Two losses of two numbers, a deep and narrow valley each, and a Pareto set between them that plain descent on the sum
misses from some starts. All methods that apply go from the papers' starts; a panel each in one picture, in the plane of
the variables, and a table of where they end.

    python benchmarks/toy.py --out docs/toy.png                     # the papers' setting: 50,000 steps, five starts
    python benchmarks/toy.py --cases tests/reference/cases/toy.json # against recorded ends of independent code

A method is called where the training calls it (`total`, `weights` or `direction`, as a whole where it looks at more);
only the network is missing. A further batch is the same problem again, for there is no noise. Methods that need
positive losses (uncertainty, gls, ...) or epochs (dwa, ...) do not apply: these losses are negative.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mtl.config import bind, compose
from mtl.tasks import Task, losses
from mtl.weighting.base import Weighting
from mtl.weighting.step import Step

STARTS = [(-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0)]  # Nash-MTL's and FAMO's
METHODS = [
    *("sum", "mgda", "pcgrad", "gradvac", "graddrop", "cagrad", "imtl_g", "nash_mtl", "aligned_mtl", "fairgrad"),
    *("upgrad", "dualproj", "conflict_free", "rgw", "famo", "rlw", "slaw", "moco", "excess_mtl", "sdmgrad"),
    *("modo", "auto_lambda"),
]
# Method of a recorded case -> our options.
RECORDED = {
    "ls": ["sum"],
    "cagrad_c0.4": ["cagrad", "weighting.method.c=0.4"],
    "cagrad_c0.5": ["cagrad", "weighting.method.c=0.5"],
    "mgda": ["mgda"],
    "pcgrad": ["pcgrad"],
    "imtl_g": ["imtl_g"],
    "nash_mtl_max_norm_1": ["nash_mtl"],
    "nash_mtl_no_clip (= fairgrad alpha 1)": ["nash_mtl"],
    "fairgrad_alpha2": ["fairgrad", "weighting.method.alpha=2"],
    "aligned_mtl_min": ["aligned_mtl"],
    "upgrad_exact": ["upgrad"],
    "dualproj_exact": ["dualproj"],
    "famo_gamma1e-2": ["famo"],
    "famo_gamma1e-3": ["famo"],
    "famo_gamma1e-5": ["famo"],
}


def objective(x1: float, x2: float, scale: float) -> tuple[list[float], list[list[float]]]:
    """The two losses at (x1, x2) and their gradients; `scale` is the factor of the first."""
    t, sech2 = math.tanh(x2), 1 - math.tanh(x2) ** 2
    a, b = 0.5 * (-x1 - 7) + t, 0.5 * (-x1 + 3) - t + 2
    l1, l2 = (math.log(max(abs(value), 5e-6)) + 6 for value in (a, b))
    dl1 = (-0.5 / a, sech2 / a) if abs(a) >= 5e-6 else (0.0, 0.0)
    dl2 = (-0.5 / b, -sech2 / b) if abs(b) >= 5e-6 else (0.0, 0.0)
    u = math.tanh(0.5 * x2)
    slope = 0.5 * (1 - u * u)
    c1, dc1 = max(u, 0.0), slope if u >= 0 else 0.0
    c2, dc2 = max(-u, 0.0), -slope if u <= 0 else 0.0
    q1, q2 = (((-x1 + m) ** 2 + 0.1 * (-x2 - 8) ** 2) / 10 - 20 for m in (7, -7))
    dq = 0.02 * (x2 + 8)
    f1, f2 = scale * (l1 * c1 + q1 * c2), l2 * c1 + q2 * c2
    g1 = [
        scale * (dl1[0] * c1 + 0.2 * (x1 - 7) * c2),
        scale * (dl1[1] * c1 + l1 * dc1 + dq * c2 + q1 * dc2),
    ]
    g2 = [dl2[0] * c1 + 0.2 * (x1 + 7) * c2, dl2[1] * c1 + l2 * dc1 + dq * c2 + q2 * dc2]
    return [f1, f2], [g1, g2]


def direction(method: Weighting, values: Sequence[float], rows: torch.Tensor) -> torch.Tensor:
    """The method's gradient [2] of the shared variables from losses [2] and their gradients [2, 2]."""
    method.losses = torch.tensor(values, dtype=torch.float64)
    if type(method).look is not Weighting.look:
        theta = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))

        def losses(_: str) -> list[torch.Tensor]:
            return [value + row @ theta for value, row in zip(values, rows, strict=True)]

        parameters = [theta], [theta], [[], []]
        method.backward(Step(losses("same"), [True, True], torch.zeros(1, 1), *parameters, 0, 0, losses))
        assert theta.grad is not None
        return theta.grad
    if method.kind == "total":
        leaf = method.losses.clone().requires_grad_()
        method.total(leaf).backward()
        assert leaf.grad is not None
        return leaf.grad @ rows
    return method.weights(rows @ rows.T) @ rows if method.kind == "weights" else method.direction(rows)


def descend(
    make: Callable[[], Weighting],
    start: Sequence[float],
    steps: int,
    scale: float,
    max_norm: float | None = None,
    bounds: Sequence[float] = (0.0, 0.0),
) -> np.ndarray:
    """The way [steps + 1, 2] of Adam (learning rate 1e-3) from `start`; the method sees the losses above `bounds`."""
    torch.manual_seed(0)
    method = make().double()
    looks_back = type(method).after_step is not Weighting.after_step
    # Adam written out (Kingma & Ba 2015, algorithm 1): torch's takes longer than all the rest for two numbers.
    first, second = np.zeros(2), np.zeros(2)
    way = np.empty((steps + 1, 2))
    way[0] = start
    for step in range(steps):
        values, gradients = objective(*way[step], scale)
        values = [value - bound for value, bound in zip(values, bounds, strict=True)]
        update = direction(method, values, torch.tensor(gradients, dtype=torch.float64)).detach().numpy()
        if max_norm is not None:
            update = update * min(1.0, max_norm / max(float(np.hypot(*update)), 1e-12))
        first, second = 0.9 * first + 0.1 * update, 0.999 * second + 0.001 * update * update
        unbiased = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        way[step + 1] = way[step] - 1e-3 * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        if looks_back:
            method.after_step(after(values, objective(*way[step + 1], scale)[0], bounds))
    return way


def after(values: Sequence[float], changed: Sequence[float], bounds: Sequence[float]) -> Step:
    """The step as FAMO sees it once it is done: the losses above their bounds, before and after."""
    again = [torch.tensor(value - bound, dtype=torch.float64) for value, bound in zip(changed, bounds, strict=True)]
    before = [torch.tensor(value, dtype=torch.float64) for value in values]
    return Step(before, [True, True], torch.zeros(1, 1), [], [], [[], []], 0, 0, lambda _: again)


def build(options: Sequence[str]) -> Callable[[], Weighting]:
    """Makes the weighting of `options` (its name and overrides) for the two losses."""
    tasks = [Task(name, "regression", "gaussian", 1, losses.mse) for name in ("first", "second")]
    config = compose([f"weighting={options[0]}", *options[1:]])["weighting"]["method"]
    return lambda: bind(config)(tasks)


def distance(points: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Distance [N] of points [N, 2] from a polygon [M, 2]."""
    a, b = front[:-1], front[1:]
    along = ((points[:, None] - a) * (b - a)).sum(-1) / ((b - a) ** 2).sum(-1)
    nearest = a + along.clip(0, 1)[..., None] * (b - a)
    found: np.ndarray = np.linalg.norm(points[:, None] - nearest, axis=-1).min(1)
    return found


def main() -> None:
    """Draw the picture, or compare with recorded cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("toy.png"))
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--only", nargs="*", default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.cases:
        compare(json.loads(options.cases.read_text()), options.only)
    else:
        draw(options.only or METHODS, options.steps, options.out)


def compare(recorded: dict[str, Any], only: Sequence[str] | None) -> None:
    """Print per case: ends on the front, ours and recorded; the largest gaps in losses and in the step of arrival.

    Losses are compared where both ends lie on the front. What agrees in neither is run again from a start beside its
    own: a way that ends elsewhere after a shift by a billionth is one that rounding decides.
    """
    front = np.array(recorded["pareto_set"]["points_x1_x2"])
    for case in recorded["cases"]:
        if only and case["method"] not in only:
            continue
        hyper, words = case["hyper"], RECORDED[case["method"]]
        if "gamma" in hyper:
            words = [*words, f"weighting.method.weight_decay={hyper['gamma']}"]
        setting = (hyper["scale_f1"], hyper["grad_clip_norm"], hyper.get("min_losses", (0.0, 0.0)))
        make, steps = build(words), hyper["steps"]
        hits, wanted, apart, late, other = 0, 0, [0.0], [0], []
        for run in case["expected"]["runs"]:
            way = descend(make, run["start"], max(steps), *setting)
            ours, known = arrival(way, front), run["reached_and_stayed_from_step"]
            late += [abs(ours - known)] if ours is not None and known is not None else []
            for step in steps:
                end = run[f"step_{step}"]
                hit = bool(distance(way[step][None], front)[0] < 0.1)
                hits, wanted = hits + hit, wanted + end["on_front"]
                found = objective(*way[step], hyper["scale_f1"])[0]
                gap = max(abs(f - e) for f, e in zip(found, end["losses"], strict=True)) if hit else 0.0
                apart += [gap] if end["on_front"] else []
                if hit == end["on_front"] and gap <= 1e-2:
                    continue
                beside = descend(make, np.add(run["start"], 1e-9), step, *setting)[step].round(2).tolist()
                other.append(
                    f"    from {run['start']}, step {step}: {way[step].round(2).tolist()}, arrived {ours}; recorded "
                    f"{np.round(end['x'], 2).tolist()}, arrived {known}; from 1e-9 beside: {beside}"
                )
        print(f"{case['id']:52} {hits:3} {wanted:3}  {max(apart):.1e} {max(late):6}", *other, sep="\n", flush=True)


def arrival(way: np.ndarray, front: np.ndarray) -> int | None:
    """The step from which on `way` [steps + 1, 2] stays within 0.1 of the front, if it ever does."""
    away = np.flatnonzero(distance(way, front) >= 0.1)
    step = int(away[-1]) + 1 if len(away) else 0
    return step if step < len(way) else None


def draw(names: Sequence[str], steps: int, out: Path) -> None:
    """A panel per method in the plane of the variables, and a table."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    scale = 0.1
    grid = np.linspace(-10, 10, 241)
    both = np.array([[sum(objective(a, b, scale)[0]) for a in grid] for b in grid])
    columns = 6 if len(names) > 15 else 5
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.6 * columns, 2.8 * rows), squeeze=False, layout="constrained")
    front = pareto_set()
    print(f"{'weighting':15} starts on the front after {steps:,} steps")
    for axis in axes.flat:
        axis.set_axis_off()
    with ProcessPoolExecutor() as pool:
        found = pool.map(ways, names, [steps] * len(names), [scale] * len(names))
        for name, axis, lines in zip(names, axes.flat, found, strict=False):
            axis.set_axis_on()
            axis.contour(grid, grid, both, levels=18, colors="0.8", linewidths=0.6)
            axis.plot(*front.T, color="black", linewidth=3, alpha=0.75)
            hits = 0
            for number, (start, way) in enumerate(zip(STARTS, lines, strict=True)):
                hits += bool(distance(way[-1:], front)[0] < 0.1)
                axis.plot(*way[::50].T, color=f"C{number}", linewidth=1.4)
                axis.plot(*start, "o", color=f"C{number}", markersize=4)
                axis.plot(*way[-1], "*", color=f"C{number}", markersize=9, markeredgecolor="black", markeredgewidth=0.4)
            axis.set(title=f"{name}: {hits} of {len(STARTS)}", xlim=(-10, 10), ylim=(-10, 10), xticks=[], yticks=[])
            print(f"{name:15} {hits} of {len(STARTS)}", flush=True)
    figure.suptitle(
        "Two-objective toy of CAGrad, Nash-MTL and FAMO: ways of Adam (lr 1e-3) from five starts (dots) to their ends\n"
        f"(stars), {steps:,} steps; black: Pareto set; numbers: starts that reach it (first loss times {scale})",
        fontsize=10,
    )
    figure.savefig(out, dpi=130)
    print(f"written: {out}")


def ways(name: str, steps: int, scale: float) -> list[np.ndarray]:
    """The way [steps + 1, 2] of a method from each start."""
    torch.set_num_threads(1)
    bounds = (-2.1, -21.0) if name == "famo" else (0.0, 0.0)  # as its authors have them
    return [descend(build([name]), start, steps, scale, bounds=bounds) for start in STARTS]


def pareto_set() -> np.ndarray:
    """x1 from -7 to 7 and the x2 near -8.4 where a convex combination of the gradients vanishes, [29, 2]."""
    points = []
    for x1 in np.linspace(-7, 7, 29):
        weights = np.array([(x1 + 7) / 14, (7 - x1) / 14])
        low, high = -9.0, -8.0
        for _ in range(60):
            middle = (low + high) / 2
            slope = (weights @ np.array(objective(x1, middle, 1.0)[1]))[1]
            low, high = (low, middle) if slope > 0 else (middle, high)
        points.append((x1, low))
    return np.array(points)


if __name__ == "__main__":
    main()
