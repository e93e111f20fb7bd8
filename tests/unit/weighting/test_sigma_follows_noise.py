"""Uncertainty weighting's sigma is the label noise, where a network can fit all that is not noise.

Twenty kinds of pictures, each with its own age, illness and species, and a linear network that sees the kind: what it
cannot predict is the planted noise. Every task has some, so that each sigma has a known value.
"""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

from mtl.data.noise import LabelNoise
from mtl.optim import build_optimizer, cosine
from mtl.weighting.step import Step

KINDS, BATCH, STEPS = 20, 400, 400
LEVELS = {"age": (10.0, 20.0, 40.0), "sick": (0.1, 0.2, 0.3), "species": (0.15, 0.3, 0.45)}
LEAST = {task: levels[0] for task, levels in LEVELS.items()}


def floor(task, level):
    """Sigma at the best predictor: the noise itself, and sqrt(2 L), L the entropy of the disturbed label."""
    if task.kind == "regression":
        return level
    entropy = -(1 - level) * math.log(1 - level) - level * math.log(level / (len(task.classes) - 1))
    return math.sqrt(2 * entropy)


def learnt(tasks, weighting, noise):
    """Sigma per task after training with fresh noise, from the effective weights of the last tenth of the steps."""
    torch.manual_seed(0)
    planted = LabelNoise.build(tasks, noise, "fresh", 0.0)
    generators = [torch.Generator().manual_seed(k) for k in range(len(tasks))]
    kinds = torch.arange(BATCH) % KINDS
    inputs = nn.functional.one_hot(kinds, KINDS).float()
    labels = torch.stack([3.0 * kinds + 20, kinds % 2, kinds % 5], 1).float()
    shared, heads = nn.Linear(KINDS, 8), nn.ModuleList(nn.Linear(8, task.width) for task in tasks)
    nn.init.constant_(heads[0].bias, 50)  # a start in the middle of the ages instead of a longer training
    model = nn.Sequential(shared, heads)
    optimizer = build_optimizer(partial(torch.optim.AdamW, lr=0.03, betas=(0.9, 0.95)), model, weighting, 0.1)
    bases, present, seen = [group["lr"] for group in optimizer.param_groups], torch.ones(BATCH, dtype=torch.bool), []
    for index in range(STEPS):
        for group, base in zip(optimizer.param_groups, bases, strict=True):
            group["lr"] = base * cosine(index, STEPS)
        targets = planted.visit(labels, tasks, generators)
        optimizer.zero_grad()
        features = shared(inputs)
        losses = [task.loss(heads[k](features), targets[:, k], present) for k, task in enumerate(tasks)]
        groups = [list(head.parameters()) for head in heads]
        step = Step(losses, [True] * len(tasks), features, [*shared.parameters()], [*shared.parameters()], groups, 0, 0)
        seen.append(weighting.backward(step))
        optimizer.step()
        weighting.after_step(step)
    weights = torch.stack(seen[-STEPS // 10 :]).mean(0).tolist()
    halves = [0.5 if task.kind == "regression" else 1.0 for task in tasks]
    return {task.name: math.sqrt(half / weight) for task, half, weight in zip(tasks, halves, weights, strict=True)}


@pytest.fixture
def sigma(make_tasks, make_weighting):
    """`sigma(age=20)`: what is learnt with that noise, and with the least of the other tasks."""

    def train(**noise):
        tasks = make_tasks(transform="raw")
        return learnt(tasks, make_weighting("uncertainty", tasks), LEAST | noise)

    return train


def test_sigma_rises_with_its_task_s_noise_to_the_noise_and_the_others_stay(sigma, make_tasks):
    first = sigma()
    for task in make_tasks(transform="raw"):
        found = [first, *(sigma(**{task.name: level}) for level in LEVELS[task.name][1:])]
        own = [run[task.name] for run in found]
        assert own == sorted(set(own)), task.name
        assert own == pytest.approx([floor(task, level) for level in LEVELS[task.name]], rel=0.1), task.name
        for run in found:
            assert {**run, task.name: 0} == pytest.approx({**first, task.name: 0}, rel=0.1), task.name
