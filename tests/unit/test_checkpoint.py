"""Checkpoints: plain content, and a run that goes on to the bit."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from mtl.checkpoint import load, load_last, save_best, save_last
from mtl.data.loader import Augment, Loader
from mtl.data.noise import LabelNoise
from mtl.optim import Schedule, build_optimizer, one_cycle
from mtl.rundir import RunDir
from mtl.train import fit

CPU = torch.device("cpu")
EPOCHS = 4


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path / "run")
    run.begin()
    return run


class Process:
    """What a process builds at the start of a run, before it looks for a checkpoint."""

    def __init__(self, bench, weighting, run):
        self.bench, self.weighting, self.run = bench, weighting, run
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
        number = torch.arange(40).float()
        labels = torch.stack([number + 1, number % 2, number % 5], 1)
        labels[::4, 1] = float("nan")
        noise = LabelNoise((5.0, 0.1, 0.1), "fresh", 0.0)
        self.loader = Loader(images, labels, np.arange(40), bench.tasks, 8, CPU, augment=Augment(True, 1), noise=noise)
        self.optimizer = build_optimizer(partial(torch.optim.AdamW, lr=0.01), bench.model, weighting, 0.025)
        self.schedule = Schedule(self.optimizer, len(self.loader) * EPOCHS, partial(one_cycle, warmup=0.25))
        self.rows = []
        torch.manual_seed(0)
        self.first = load_last(run, bench.model, weighting, self.optimizer)

    def train(self, until):
        def on_epoch(done):
            self.rows.append(done.row)
            save_last(self.run, done.epoch, self.bench.model, self.weighting, self.optimizer)

        fit(
            self.bench.model,
            self.bench.tasks,
            self.weighting,
            self.loader,
            self.optimizer,
            self.schedule,
            epochs=range(self.first, until),
            device=CPU,
            on_epoch=on_epoch,
        )


def test_resumed_is_uninterrupted(weighting_name, make_weighting, make_bench, tasks, tmp_path):
    """2 + 2 epochs in two processes equal 4 in one to the bit: parameters, statistics, the method's state, every row.

    The learning rate rises and falls, a task lacks labels in some batches, noise is fresh, and rlw and pcgrad draw.
    """
    processes = []
    for name, stops in (("straight", [EPOCHS]), ("resumed", [2, EPOCHS])):
        run, rows = RunDir(tmp_path / name), []
        run.begin()
        for stop in stops:
            torch.manual_seed(999)  # a new process knows nothing of the old one's generator
            process = Process(make_bench(tasks), make_weighting(weighting_name, tasks), run)
            process.train(stop)
            rows += process.rows
        processes.append((process, rows))
    (straight, rows), (resumed, resumed_rows) = processes
    assert resumed.first == 2
    assert resumed_rows == rows
    for part in ("model", "weighting", "optimizer"):
        one, two = (load(process.run.path / "last.pt")[part] for process in (straight, resumed))
        assert str(one) == str(two)  # every number of these small networks
    one, two = (process.bench.model.state_dict() for process in (straight, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_content_is_plain(run, bench, make_weighting):
    """`weights_only` loading refuses anything else."""
    process = Process(bench, make_weighting("dwa", bench.tasks), run)
    process.train(1)
    state = torch.load(run.path / "last.pt", weights_only=True)
    assert set(state) == {"epoch", "model", "weighting", "optimizer", "generator", "cuda_generators"}
    assert state["epoch"] == 0
    save_best(run, bench.model, 3, 0.25)
    best = load(run.path / "best.pt")
    assert (best["epoch"], best["score"]) == (3, 0.25)
    assert all(torch.equal(value, best["model"][name]) for name, value in bench.model.state_dict().items())


def test_best_without_a_score(run, bench):
    save_best(run, bench.model, 0, None)
    assert load(run.path / "best.pt")["score"] is None


def test_without_a_checkpoint_it_begins(run, bench, make_weighting):
    weighting = make_weighting("uncertainty", bench.tasks)
    before = {name: value.clone() for name, value in bench.model.state_dict().items()}
    optimizer = build_optimizer(partial(torch.optim.AdamW, lr=0.01), bench.model, weighting, 0.025)
    generator = torch.get_rng_state()
    assert load_last(run, bench.model, weighting, optimizer) == 0
    assert all(torch.equal(value, before[name]) for name, value in bench.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


def test_a_failing_save_leaves_the_last_checkpoint(run, bench, make_weighting):
    """No room on the disk, for example: the write raises and the older file stays whole."""
    process = Process(bench, make_weighting("sum", bench.tasks), run)
    process.train(1)

    class Unwritable(torch.nn.Module):
        def state_dict(self, *args, **kwargs):
            return {"lambda": lambda: None}

    with pytest.raises(Exception, match="pickle"):
        save_last(run, 5, Unwritable(), process.weighting, process.optimizer)
    assert load(run.path / "last.pt")["epoch"] == 0
    assert sorted(path.name for path in run.path.iterdir()) == ["last.pt", "status.json"]
