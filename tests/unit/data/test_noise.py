"""Planted noise: the levels that were asked for, measured on many labels; fixed and fresh; only in training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mtl.build import build_loaders, build_parts, load_data
from mtl.data.noise import LabelNoise

NUMBER = 20_000
NAMES = [f"{number:05d}.png" for number in range(NUMBER)]


@pytest.fixture
def clean():
    number = torch.arange(NUMBER)
    return torch.stack([30.0 + number % 50, (number % 2).float(), (number % 5).float()], 1)


def disturbed(mode, clean, tasks, levels=(6.0, 0.1, 0.3), missing_rate=0.0):
    noise = LabelNoise(levels, mode, missing_rate)
    planted = noise.plant(clean, NAMES, tasks)
    return noise.visit(planted, tasks, [torch.Generator().manual_seed(k) for k in range(len(tasks))])


@pytest.mark.parametrize("mode", ["fixed", "fresh"])
def test_planted_levels(mode, clean, tasks):
    """Measured within four standard errors on 20,000 labels."""
    noisy = disturbed(mode, clean, tasks)
    years = (noisy - clean)[:, 0].double()
    assert years.mean().abs() < 4 * 6 / math.sqrt(NUMBER)
    assert years.std().item() == pytest.approx(6, abs=4 * 6 / math.sqrt(2 * NUMBER))
    assert (years.abs() < 6).double().mean().item() == pytest.approx(
        0.6827, abs=4 * math.sqrt(0.22 / NUMBER)
    )  # a normal one
    for k, level in ((1, 0.1), (2, 0.3)):
        wrong = (noisy[:, k] != clean[:, k]).double().mean().item()
        assert wrong == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / NUMBER))


@pytest.mark.parametrize("mode", ["fixed", "fresh"])
def test_a_wrong_class_is_any_other_one(mode, clean, tasks):
    """From each of the five species to each of the four others about equally often."""
    noisy = disturbed(mode, clean, tasks)
    change = torch.stack([clean[:, 2], noisy[:, 2]], 1)[noisy[:, 2] != clean[:, 2]].int()
    counts = np.zeros((5, 5))
    np.add.at(counts, tuple(change.T.numpy()), 1)
    assert set(noisy[:, 1].tolist()) == {0.0, 1.0}
    assert set(noisy[:, 2].tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}
    expected = NUMBER * 0.3 / 20
    off = counts[~np.eye(5, dtype=bool)]
    assert (np.abs(off - expected) < 4.5 * math.sqrt(expected)).all()


@pytest.mark.parametrize("mode", ["fixed", "fresh"])
def test_noise_of_the_tasks_is_independent(mode, clean, tasks):
    noisy = disturbed(mode, clean, tasks, (6.0, 0.3, 0.3))
    changes = torch.stack([(noisy - clean)[:, 0].abs(), (noisy != clean)[:, 1].float(), (noisy != clean)[:, 2].float()])
    correlations = torch.corrcoef(changes) - torch.eye(3)
    assert correlations.abs().max() < 4 / math.sqrt(NUMBER)


def test_fixed_noise_goes_with_the_name(clean, tasks):
    """Another order or another selection of the pictures gives each of them the same label."""
    noise = LabelNoise((6.0, 0.1, 0.3), "fixed", 0.2)
    all_of_them = noise.plant(clean, NAMES, tasks)
    chosen = torch.randperm(NUMBER)[:500]
    some = noise.plant(clean[chosen], [NAMES[i] for i in chosen], tasks)
    torch.testing.assert_close(some, all_of_them[chosen], equal_nan=True, rtol=0, atol=0)
    alone = LabelNoise((0.3,), "fixed", 0.2).plant(clean[:, 2:], NAMES, tasks[2:])
    torch.testing.assert_close(alone[:, 0], all_of_them[:, 2], equal_nan=True, rtol=0, atol=0)


def test_fixed_noise_does_not_change_at_a_visit(clean, tasks):
    noise = LabelNoise((6.0, 0.1, 0.3), "fixed", 0.0)
    generator = torch.Generator().manual_seed(0)
    assert noise.visit(clean, tasks, [generator] * len(tasks)) is clean
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(0).get_state())


def test_fresh_noise_is_not_planted_and_changes_at_each_visit(clean, tasks):
    noise = LabelNoise((6.0, 0.1, 0.3), "fresh", 0.0)
    assert torch.equal(noise.plant(clean, NAMES, tasks), clean)
    generators = [torch.Generator().manual_seed(k) for k in range(len(tasks))]
    one, two = noise.visit(clean, tasks, generators), noise.visit(clean, tasks, generators)
    assert not torch.equal(one[:, 0], two[:, 0])
    assert not torch.equal(one[:, 2], two[:, 2])


@pytest.mark.parametrize("mode", ["fixed", "fresh"])
def test_missing_rate(mode, clean, tasks):
    """A quarter of the labels of each task, independently of one another, and noise on the others only."""
    noisy = disturbed(mode, clean, tasks, missing_rate=0.25)
    missing = noisy.isnan().double()
    assert missing.mean(0).tolist() == pytest.approx([0.25] * 3, abs=4 * math.sqrt(0.1875 / NUMBER))
    assert (torch.corrcoef(missing.T) - torch.eye(3)).abs().max() < 4 / math.sqrt(NUMBER)
    wrong = (noisy != clean)[:, 2] & ~noisy[:, 2].isnan()
    assert wrong.sum().item() / (1 - missing[:, 2]).sum().item() == pytest.approx(0.3, abs=0.015)


def test_labels_given_are_left_alone(clean, tasks):
    before = clean.clone()
    disturbed("fixed", clean, tasks, missing_rate=0.3)
    disturbed("fresh", clean, tasks, missing_rate=0.3)
    assert torch.equal(clean, before)


def test_no_noise_is_no_change(clean, tasks):
    for mode in ("fixed", "fresh"):
        assert torch.equal(disturbed(mode, clean, tasks, (0.0, 0.0, 0.0)), clean)
    assert torch.equal(disturbed("fixed", clean, tasks, (0.0, 0.0, 0.4))[:, :2], clean[:, :2])


def test_every_class_wrong(clean, tasks):
    noisy = disturbed("fixed", clean, tasks, (0.0, 1.0, 1.0))
    assert (noisy[:, 1] == 1 - clean[:, 1]).all()
    assert (noisy[:, 2] != clean[:, 2]).all()


def test_build_by_task_name(tasks):
    noise = LabelNoise.build(tasks, {"species": 0.3, "age": 6}, "fresh", 0)
    assert noise == LabelNoise((6.0, 0.0, 0.3), "fresh", 0.0)


@pytest.mark.parametrize(
    ("levels", "mode", "missing_rate", "sentence"),
    [
        ({"age": -1}, "fixed", 0.0, r"data\.noise\.age=-1: expected years, at least 0\."),
        ({"age": float("inf")}, "fixed", 0.0, r"data\.noise\.age=inf"),
        ({"age": float("nan")}, "fixed", 0.0, r"data\.noise\.age=nan"),
        ({"age": "much"}, "fixed", 0.0, r"data\.noise\.age=much"),
        ({"sick": 1.5}, "fixed", 0.0, r"data\.noise\.sick=1\.5: expected a probability from 0 to 1\."),
        ({"sick": True}, "fixed", 0.0, r"data\.noise\.sick=True"),
        ({}, "sometimes", 0.0, r"data\.noise_mode=sometimes: expected fixed or fresh\."),
        ({}, "fixed", 1.0, r"data\.missing_rate=1\.0: expected a probability, at least 0 and below 1\."),
        ({}, "fixed", -0.1, r"data\.missing_rate=-0\.1"),
        ({}, "fixed", "half", r"data\.missing_rate=half"),
        ({}, "fixed", True, r"data\.missing_rate=True"),
    ],
)
def test_refuses(tasks, levels, mode, missing_rate, sentence):
    with pytest.raises(ValueError, match=sentence):
        LabelNoise.build(tasks, levels, mode, missing_rate)


@pytest.mark.parametrize("mode", ["fixed", "fresh"])
def test_validation_and_test_stay_clean(tiny_config, mode):
    """Through the loaders of a run on drawn pictures: only training labels change or are missing."""
    config = tiny_config(f"data.noise_mode={mode}", "data.missing_rate=0.3")
    config["data"]["noise"] = {"age": 6.0, "sick": 0.5, "species": 0.5}
    data = load_data(config)
    loaders = build_loaders(config, build_parts(config), data)
    for loader in (loaders.val, loaders.test):
        for batch in loader.epoch():
            assert batch.masks.all()
            assert torch.equal(batch.targets, torch.from_numpy(data.labels[batch.indices.numpy()]))
    batches = list(loaders.train.epoch(0))
    masks = torch.cat([batch.masks for batch in batches])
    targets = torch.cat([batch.targets for batch in batches])
    true = torch.from_numpy(data.labels[torch.cat([batch.indices for batch in batches]).numpy()])
    assert 0.15 < 1 - masks.double().mean() < 0.45
    assert (((targets != true) & masks).sum(0) > 10).all()
    again = {
        i: t
        for batch in loaders.train.epoch(1)
        for i, t in zip(batch.indices.tolist(), batch.targets[:, 0].tolist(), strict=True)
    }
    both = [
        (t, again[i])
        for batch in batches
        for i, t in zip(batch.indices.tolist(), batch.targets[:, 0].tolist(), strict=True)
        if i in again
    ]
    assert all(a == b for a, b in both) == (mode == "fixed")
    parts = [set(loader.indices.tolist()) for loader in (loaders.train, loaders.val, loaders.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(data.names)
