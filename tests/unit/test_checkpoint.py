"""Checkpoints: plain content, a run that goes on to the bit, and what happens when a file is damaged."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
import torch

from mtl.checkpoint import Checkpoints, Damaged, best_epoch, load
from mtl.data.loader import Augment, Loader
from mtl.data.noise import LabelNoise
from mtl.optim import Schedule, build_optimizer, one_cycle
from mtl.rundir import RunDir
from mtl.sums import EpochSums
from mtl.train import fit

CPU = torch.device("cpu")
EPOCHS, STEPS = 4, 5
SCORES = {0: 0.1, 1: 0.3, 2: 0.2, 3: 0.4}  # of the validation, by epoch


class Stopped(Exception):
    pass


class Process:
    """What a process builds at the start of a run, before it looks for a checkpoint."""

    def __init__(self, make_bench, make_weighting, name, tasks, folder, scores=SCORES):
        torch.manual_seed(999)  # a new process knows nothing of the old one's generator
        self.bench, self.weighting, self.scores = make_bench(tasks), make_weighting(name, tasks), scores
        self.run = RunDir(folder)
        self.run.path.mkdir(exist_ok=True)
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
        number = torch.arange(40).float()
        labels = torch.stack([number + 1, number % 2, number % 5], 1)
        labels[::4, 1] = float("nan")
        noise = LabelNoise((5.0, 0.1, 0.1), "fresh", 0.0)
        self.loader = Loader(images, labels, np.arange(40), tasks, 8, CPU, augment=Augment(True, 1), noise=noise)
        self.optimizer = build_optimizer(partial(torch.optim.AdamW, lr=0.01), self.bench.model, self.weighting, 0.025)
        self.schedule = Schedule(self.optimizer, STEPS * EPOCHS, partial(one_cycle, warmup=0.25))
        self.checkpoints = Checkpoints(self.run, self.bench.model, self.weighting, self.optimizer)
        torch.manual_seed(0)
        self.progress = self.checkpoints.load()

    def train(self, stop=None):
        """To the end, or until step `stop` of the run is saved."""
        begun = None
        if self.progress.sums is not None:
            begun = EpochSums(self.bench.tasks, CPU)
            begun.load_state_dict(self.progress.sums)

        def on_step(epoch, sums):
            if epoch * STEPS + sums.steps == stop:
                self.checkpoints.save(epoch, sums.state_dict())
                raise Stopped

        def on_epoch(done):
            self.run.append("history.jsonl", done.row | {"val/score": self.scores[done.epoch]})
            self.run.append("timing.jsonl", {"epoch": done.epoch, "seconds": done.seconds})
            self.checkpoints.save(done.epoch + 1)

        epochs = range(self.progress.epochs, EPOCHS)
        parts = self.bench.model, self.bench.tasks, self.weighting, self.loader, self.optimizer, self.schedule
        with suppress(Stopped):
            fit(*parts, epochs=epochs, device=CPU, probe=2, begun=begun, on_step=on_step, on_epoch=on_epoch)
        return self


@pytest.fixture
def process(make_bench, make_weighting, tasks, tmp_path):
    return lambda name="dwa", folder="run", **options: Process(
        make_bench, make_weighting, name, tasks, tmp_path / folder, **options
    )


def assert_equal(one, other):
    """Both runs to the bit: parameters, statistics, the method's state, the generator, every row, the best network."""
    last, other_last = load(one.run.path / "last.pt"), load(other.run.path / "last.pt")
    for part in ("epochs", "model", "weighting", "optimizer", "generator"):
        assert str(last[part]) == str(other_last[part]), part  # every number of these small networks
    assert (one.run.path / "history.jsonl").read_bytes() == (other.run.path / "history.jsonl").read_bytes()
    best, other_best = load(one.run.path / "best.pt"), load(other.run.path / "best.pt")
    assert str(best) == str(other_best)


def test_resumed_is_uninterrupted(weighting_name, process):
    """Stopped in the midst of epochs, at their first and last step, and twice in one: equal to one straight run.

    The learning rate rises and falls, a task lacks labels in some batches, noise is fresh, and rlw and pcgrad draw.
    """
    straight = process(weighting_name, "straight").train()
    for stop in (1, 7, 8, 10, 16):
        stopped = process(weighting_name, "resumed").train(stop)
        assert load(stopped.run.path / "last.pt")["sums"]["steps"] == (stop - 1) % STEPS + 1
    assert_equal(straight, process(weighting_name, "resumed").train())


def test_killed_after_any_epoch(process):
    straight = process(folder="straight").train()
    process().train(2 * STEPS + 3)
    run = process().run
    # As a killed process leaves it: rows and a network that last.pt does not know, and half a file.
    run.append("history.jsonl", {"epoch": 2, "val/score": 9.0})
    (run.path / ".last.pt.4711").write_bytes(b"PK")
    assert_equal(straight, process().train())


def test_content_is_plain(process):
    """`weights_only` loading refuses anything else."""
    done = process("dwa").train()
    state = torch.load(done.run.path / "last.pt", weights_only=True)
    assert state["epochs"] == EPOCHS
    assert [row["val/score"] for row in state["records"]["history.jsonl"]] == list(SCORES.values())
    best = torch.load(done.run.path / "best.pt", weights_only=True)
    assert (best["epoch"], best["score"]) == (3, 0.4)
    assert all(torch.equal(value, best["model"][name]) for name, value in done.bench.model.state_dict().items())


@pytest.mark.parametrize(
    ("scores", "best"), [([0.1, 0.3, 0.3], 1), ([None, None], 0), ([None, -2.0, None], 1), ([], None)]
)
def test_best_epoch(scores, best):
    assert best_epoch([{"epoch": epoch, "val/score": score} for epoch, score in enumerate(scores)]) == best


def test_without_a_checkpoint_it_begins(process):
    fresh = process("uncertainty")
    assert (fresh.progress.epochs, fresh.progress.sums, fresh.progress.note) == (0, None, None)
    reference = process("uncertainty", "other")
    assert str(fresh.bench.model.state_dict()) == str(reference.bench.model.state_dict())
    assert not list(fresh.run.path.glob("*.pt"))


def shorten(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    """One bit in the middle of a tensor, which torch itself reads without a word."""
    content = bytearray(path.read_bytes())
    weights = load(path)["model"]["backbone.first.weight"].numpy().tobytes()
    content[content.index(weights) + 10] ^= 4
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def other(path):
    path.write_bytes(b"no checkpoint at all" * 100)


def older(path):
    torch.save({"epoch": 1, "model": {}}, path)


@pytest.mark.parametrize("damage", [shorten, flip, empty, other, older])
def test_damaged_last_falls_back_to_the_one_before(process, damage, tmp_path):
    straight = process(folder="straight").train()
    process().train(2 * STEPS + 3)
    damage(tmp_path / "run" / "last.pt")
    resumed = process()
    assert resumed.progress.epochs == 2
    assert resumed.progress.sums is None
    assert resumed.progress.note.startswith("last.pt cannot be used (")
    assert resumed.progress.note.endswith("): going on from previous.pt")
    assert [row["epoch"] for row in resumed.run.rows("history.jsonl")] == [0, 1]
    assert load(tmp_path / "run" / "last.pt")["epochs"] == 2  # the next save keeps this one as the previous
    assert_equal(straight, resumed.train())


def test_both_damaged_starts_anew_and_says_so(process, tmp_path):
    straight = process(folder="straight").train()
    process().train(2 * STEPS + 3)
    shorten(tmp_path / "run" / "last.pt")
    flip(tmp_path / "run" / "previous.pt")
    resumed = process()
    assert resumed.progress.epochs == 0
    assert resumed.run.rows("history.jsonl") == []
    note = resumed.progress.note
    assert note.startswith("last.pt cannot be used (")
    assert "; previous.pt cannot be used (its part" in note
    assert note.endswith("): starting anew")
    assert_equal(straight, resumed.train())


def test_damaged_records_are_written_again(process, tmp_path):
    straight = process(folder="straight").train()
    process().train(2 * STEPS + 3)
    (tmp_path / "run" / "history.jsonl").write_text('{"epoch": 0, "val')
    (tmp_path / "run" / "timing.jsonl").unlink()
    resumed = process()
    assert resumed.progress.note is None
    assert len(resumed.run.rows("timing.jsonl")) == 2
    assert_equal(straight, resumed.train())


def test_best_network_that_was_not_written_yet(process, tmp_path):
    """Killed between last.pt and best.pt: the best network is the last one, and is written again."""
    straight = process(folder="straight").train()
    process().train(2 * STEPS + 1)  # the best so far is that of epoch 1
    run = tmp_path / "run"
    (run / "previous.pt").replace(run / "last.pt")  # as it was when epoch 1 had just ended
    (run / "best.pt").unlink()
    assert_equal(straight, process().train())


def test_lost_best_network(process, tmp_path):
    """The best network of an earlier epoch cannot be had from last.pt."""
    straight = process(folder="straight").train()
    process().train(3 * STEPS + 2)  # three epochs, of which the second is the best
    run = tmp_path / "run"
    assert load(run / "best.pt")["epoch"] == 1
    for name in ("best.pt", "previous-best.pt"):
        (run / name).unlink()
    resumed = process()
    assert "the best network so far, that of epoch 1, is lost" in resumed.progress.note
    assert resumed.progress.note.endswith("starting anew")
    assert_equal(straight, resumed.train())


def test_best_network_of_another_epoch_is_not_taken(process, tmp_path):
    """Where results differ from process to process (GPU), an old best.pt may be of an epoch that was cut off."""
    process(scores={0: 0.5, 1: 0.3, 2: 0.9, 3: 0.1}).train(3 * STEPS + 1)
    run = tmp_path / "run"
    assert load(run / "best.pt")["epoch"] == 2
    # Both checkpoints of the third epoch are lost; an older one is put back by hand.
    shorten(run / "last.pt")
    state = load(run / "previous.pt")
    state["epochs"], state["records"] = 2, {name: rows[:2] for name, rows in state["records"].items()}
    torch.save(state, run / "previous.pt")
    resumed = process()
    assert resumed.progress.epochs == 0
    assert "the best network so far, that of epoch 0, is lost" in resumed.progress.note


def test_another_network_is_an_error(process, make_bench, make_weighting, tasks, tmp_path):
    process().train(STEPS + 1)
    with pytest.raises(ValueError, match=r"last.pt does not fit this version of the code \(.*\): move that folder"):
        Process(make_bench, make_weighting, "dwa", tasks[:2], tmp_path / "run")


def test_what_a_finished_run_keeps(process, tmp_path):
    process().train()
    assert sorted(path.name for path in (tmp_path / "run").glob("*.pt")) == [
        "best.pt",
        "last.pt",
        "previous-best.pt",
        "previous.pt",
    ]
    for keep, names in (("last", ["best.pt", "last.pt"]), ("best", ["best.pt"]), ("none", [])):
        process().checkpoints.remove(keep)
        assert sorted(path.name for path in (tmp_path / "run").glob("*.pt")) == names


def test_a_failing_save_leaves_the_last_checkpoint(process):
    """No room on the disk, for example: the write raises and the older files stay whole."""
    done = process("sum").train()
    before = {path.name: path.read_bytes() for path in done.run.path.iterdir() if "previous" not in path.name}

    class Unwritable(torch.nn.Module):
        def state_dict(self, *args, **kwargs):
            return {"lambda": lambda: None}

    with pytest.raises(Exception, match="pickle"):
        Checkpoints(done.run, Unwritable(), done.weighting, done.optimizer).save(5)
    after = {path.name: path.read_bytes() for path in done.run.path.iterdir() if "previous" not in path.name}
    assert after == before


def test_a_file_system_without_links(process, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    straight = process(folder="straight").train()
    monkeypatch.setattr(os, "link", refuse)
    process().train(2 * STEPS + 3)
    shorten(process().run.path / "last.pt")
    assert_equal(straight, process().train())


def test_missing_and_damaged_files_are_damaged(tmp_path):
    with pytest.raises(Damaged):
        load(tmp_path / "none.pt")
    torch.save({"weights": torch.arange(1000.0)}, tmp_path / "some.pt")
    assert load(tmp_path / "some.pt")["weights"][-1] == 999
    content = (tmp_path / "some.pt").read_bytes()
    for size in range(0, len(content) - 1, 97):
        (tmp_path / "some.pt").write_bytes(content[:size])
        with pytest.raises(Damaged):
            load(tmp_path / "some.pt")
