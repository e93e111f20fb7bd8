"""The loop: what a row holds, when callbacks come, what is refused; and that it knows no method."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from mtl.data.loader import Augment, Loader
from mtl.optim import Schedule, build_optimizer, cosine
from mtl.train import Steps, fit
from mtl.weighting.base import Weighting
from mtl.weighting.constant import Constant

CPU = torch.device("cpu")


class Trial:
    """40 random pictures, a tiny network and one optimizer, as `fit` wants them."""

    def __init__(self, bench, weighting, labels=None, lr=0.01, batch_size=8, epochs=2):
        self.bench, self.weighting, self.epochs = bench, weighting, epochs
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
        number = torch.arange(40).float()
        self.labels = torch.stack([number + 1, number % 2, number % 5], 1) if labels is None else labels
        self.loader = Loader(images, self.labels, np.arange(40), bench.tasks, batch_size, CPU, augment=Augment(True, 1))
        self.optimizer = build_optimizer(partial(torch.optim.AdamW, lr=lr), bench.model, weighting, 0.025)
        self.schedule = Schedule(self.optimizer, len(self.loader) * epochs, cosine)
        self.done = []

    def fit(self, **options):
        options = {"epochs": range(self.epochs), "device": CPU, "on_epoch": self.done.append} | options
        bench = self.bench
        fit(bench.model, bench.tasks, self.weighting, self.loader, self.optimizer, self.schedule, **options)
        return [done.row for done in self.done]


class Recording(Weighting):
    """The plain sum, and what it was told."""

    def __init__(self, tasks):
        super().__init__(tasks)
        self.steps, self.ended, self.after = [], [], 0

    def total(self, losses: Tensor) -> Tensor:
        return losses.sum()

    def backward(self, step):
        self.steps.append((step, [loss.item() for loss in step.losses]))
        return super().backward(step)

    def after_step(self, step):
        super().after_step(step)
        assert step is self.steps[-1][0]
        self.after += 1

    def end_epoch(self, train_losses, train_metrics):
        self.ended.append((train_losses, train_metrics))


def test_row(bench):
    rows = Trial(bench, Constant(bench.tasks, {"age": 2.0, "species": 0.5})).fit()
    keys = {"epoch", "lr", "weight/sum", "grad_norm"}
    keys |= {f"{prefix}/{name}" for prefix in ("train/loss", "weight", "share") for name in ("age", "sick", "species")}
    keys |= {f"train/age/{metric}" for metric in ("mae_years", "rmse_log")}
    keys |= {
        f"train/{name}/{metric}"
        for name in ("sick", "species")
        for metric in ("accuracy", "balanced_accuracy", "f1_macro")
    }
    assert [set(row) for row in rows] == [keys, keys]
    assert [row["epoch"] for row in rows] == [0, 1]
    assert rows[0]["weight/age"] == 2
    assert rows[0]["weight/sum"] == pytest.approx(3.5)
    assert rows[0]["share/age"] == pytest.approx(2 / 3.5)
    assert sum(rows[1][f"share/{name}"] for name in ("age", "sick", "species")) == pytest.approx(1)
    assert all(value is None or type(value) in (int, float) for row in rows for value in row.values())


def test_row_is_the_mean_over_the_steps(bench):
    weighting = Recording(bench.tasks)
    rows = Trial(bench, weighting).fit()
    assert len(weighting.steps) == weighting.after == 10
    for epoch, row in enumerate(rows):
        losses = np.array([losses for _, losses in weighting.steps[5 * epoch : 5 * epoch + 5]]).mean(0)
        assert [row[f"train/loss/{task.name}"] for task in bench.tasks] == pytest.approx(losses.tolist())
        told, metrics = weighting.ended[epoch]
        assert told.tolist() == pytest.approx(losses.tolist())
        assert metrics["sick"]["accuracy"] == row["train/sick/accuracy"]
        assert metrics["age"]["mae_years"] == row["train/age/mae_years"]
    assert [(step.epoch, step.index) for step, _ in weighting.steps] == [(e, i) for e in range(2) for i in range(5)]
    assert rows[1]["lr"] == pytest.approx(0.01 * (1 + math.cos(math.pi * 9 / 10)) / 2)


def test_it_learns(bench):
    trial = Trial(bench, Recording(bench.tasks), epochs=30, lr=0.02)
    rows = trial.fit()
    for name in ("age", "sick", "species"):
        assert rows[-1][f"train/loss/{name}"] < rows[0][f"train/loss/{name}"]


def test_callbacks(bench):
    events = []
    trial = Trial(bench, Recording(bench.tasks))

    def on_epoch(done):
        events.append(("epoch", done.epoch, done.num_steps, len(trial.weighting.ended)))
        assert done.seconds > 0
        bench.model.eval()  # an evaluation leaves the network like that

    trial.fit(on_step=lambda epoch, sums: events.append(("step", epoch, sums.steps)), on_epoch=on_epoch)
    steps = [[("step", epoch, number) for number in range(1, 6)] for epoch in (0, 1)]
    assert events == [*steps[0], ("epoch", 0, 5, 1), *steps[1], ("epoch", 1, 5, 2)]


def test_every_epoch_trains_in_training_mode(bench):
    """BatchNorm keeps on learning its statistics after an evaluation."""
    statistics = []

    def on_epoch(done):
        statistics.append(bench.model.backbone.first_norm.num_batches_tracked.item())
        bench.model.eval()

    Trial(bench, Recording(bench.tasks)).fit(on_epoch=on_epoch)
    assert statistics == [5, 10]


def test_later_epochs_take_their_place_in_the_schedule(bench):
    rows = Trial(bench, Recording(bench.tasks), epochs=4).fit(epochs=range(2, 4))
    assert [row["epoch"] for row in rows] == [2, 3]
    assert rows[0]["lr"] == pytest.approx(0.01 * (1 + math.cos(math.pi * 14 / 20)) / 2)


def test_missing_labels(bench):
    """A task with labels in some batches: its means are over those batches, and shares still sum to 1."""
    labels = torch.full((40, 3), float("nan"))
    labels[:, 0] = torch.arange(40) + 1.0
    labels[:6, 1] = torch.arange(6) % 2.0
    weighting = Recording(bench.tasks)
    row = Trial(bench, weighting, labels, epochs=1, batch_size=4).fit()[0]
    active = np.array([step.active for step, _ in weighting.steps])
    assert active[:, 0].all()
    assert not active[:, 2].any()
    assert 0 < active[:, 1].sum() < 10
    losses = np.array([losses for _, losses in weighting.steps])
    assert row["train/loss/sick"] == pytest.approx(losses[active[:, 1], 1].mean())
    assert row["train/loss/species"] is None
    assert row["weight/species"] is None
    assert row["train/species/accuracy"] is None
    assert row["weight/sick"] == 1
    assert row["weight/sum"] == pytest.approx(active.sum() / 10)
    shares = [row[f"share/{name}"] for name in ("age", "sick", "species")]
    assert sum(share for share in shares if share is not None) == pytest.approx(1)
    assert weighting.ended[0][0].isnan().tolist() == [False, False, True]


@pytest.mark.parametrize("clip", [None, 1.0])
def test_batches_without_any_label_are_no_steps(bench, clip):
    """Nothing moves, nothing fails, with clipping too."""
    labels = torch.full((40, 3), float("nan"))
    before = [p.detach().clone() for p in bench.model.parameters()]
    row = Trial(bench, Recording(bench.tasks), labels, epochs=1).fit(clip=clip)[0]
    assert all(torch.equal(a, b) for a, b in zip(bench.model.parameters(), before, strict=True))
    assert row["weight/sum"] == 0
    assert row["share/age"] is None


def test_clipping_is_logged_and_leaves_the_method_alone(bench, make_weighting):
    """The factor is the mean over the steps; the gradient of the method's own parameters is not scaled."""
    seen = []
    weighting = make_weighting("uncertainty", bench.tasks)
    trial = Trial(bench, weighting, epochs=1)
    plain = trial.optimizer.step

    def step():
        norm = math.sqrt(sum(p.grad.square().sum().item() for p in bench.model.parameters()))
        seen.append((norm, weighting.log_scale.grad.clone()))
        plain()

    trial.optimizer.step = step
    row = trial.fit(clip=1e-3)[0]
    assert 0 < row["clip_factor"] < 0.1
    assert all(norm == pytest.approx(1e-3, rel=1e-3) for norm, _ in seen)
    assert all(gradient.norm() > 0.05 for _, gradient in seen)


def test_no_factor_without_clipping(bench):
    assert "clip_factor" not in Trial(bench, Recording(bench.tasks), epochs=1).fit()[0]


def test_residual_is_logged_where_a_method_has_one(bench):
    from torchjd.aggregation import GradDrop

    from mtl.weighting.torchjd import Aggregator

    row = Trial(bench, Aggregator(bench.tasks, GradDrop()), epochs=1).fit()[0]
    assert 0 < row["weight/residual"] <= 1


def test_not_finite_is_an_error_that_names_the_task(bench):
    with torch.no_grad():
        bench.model.heads["species"].bias.fill_(float("inf"))
    trial = Trial(bench, Recording(bench.tasks))
    with pytest.raises(FloatingPointError, match=r"training loss of task 'species' is not finite in epoch 0"):
        trial.fit()
    assert trial.done == []  # nothing is evaluated or saved after it


class Spoiling(Recording):
    """A gradient that is not finite, in one step and one place."""

    def __init__(self, tasks, step, place):
        super().__init__(tasks)
        self.step, self.place = step, place

    def backward(self, step):
        weights = super().backward(step)
        if len(self.steps) - 1 == self.step:
            parameters = step.shared if self.place is None else step.heads[self.place]
            parameters[0].grad.view(-1)[3] = float("nan" if self.place else "inf")
        return weights


@pytest.mark.parametrize(
    ("place", "what"), [(None, "the shared parameters"), (0, "task 'age'"), (1, "task 'sick'"), (2, "task 'species'")]
)
def test_a_gradient_that_is_not_finite_is_named_with_its_step(bench, place, what):
    """The losses of later steps are not finite either; the first cause counts."""
    trial = Trial(bench, Spoiling(bench.tasks, 7, place))
    sentence = rf"^the gradient of {what} is not finite in epoch 1, step 2: "
    with pytest.raises(FloatingPointError, match=sentence):
        trial.fit()
    assert len(trial.done) == 1


def test_what_is_not_finite_is_found_every_50_steps(bench):
    """Long before the end of a long epoch, and no checkpoint is asked for in between."""
    labels = (torch.arange(120) + 1.0).remainder(2)[:, None].expand(-1, 3)
    weighting = Spoiling(bench.tasks, 12, None)
    trial = Trial(bench, weighting, labels.repeat(10, 1), batch_size=2)
    trial.loader.indices = torch.arange(40).repeat(10)
    with pytest.raises(FloatingPointError, match="in epoch 0, step 12: "):
        trial.fit()
    assert len(weighting.steps) == 50


def test_the_norm_of_the_gradient_is_logged(bench):
    norms = []
    trial = Trial(bench, Recording(bench.tasks), epochs=1)
    plain = trial.optimizer.step

    def step():
        norms.append(math.sqrt(sum(p.grad.square().sum().item() for p in bench.model.parameters())))
        plain()

    trial.optimizer.step = step
    assert trial.fit()[0]["grad_norm"] == pytest.approx(np.mean(norms), rel=1e-5)


def test_amp_trains_in_bfloat16_and_counts_in_float32(bench):
    types = []
    bench.model.backbone.last.register_forward_hook(lambda module, args, output: types.append(output.dtype))
    weighting = Recording(bench.tasks)
    Trial(bench, weighting, epochs=1).fit(amp=True)
    assert set(types) == {torch.bfloat16}
    assert {loss.dtype for step, _ in weighting.steps for loss in step.losses} == {torch.float32}
    assert all(p.dtype == torch.float32 for p in bench.model.parameters())


def test_every_weighting_trains(weighting_name, make_weighting, bench):
    """Two epochs through the very loop of a run: every parameter moves, all numbers are there."""
    weighting = make_weighting(weighting_name, bench.tasks)
    before = {name: p.detach().clone() for name, p in [*bench.model.named_parameters(), *weighting.named_parameters()]}
    rows = Trial(bench, weighting).fit()
    for name, parameter in [*bench.model.named_parameters(), *weighting.named_parameters()]:
        assert not torch.equal(parameter, before[name]), name
    assert all(value is not None and math.isfinite(value) for row in rows for value in row.values())


def test_methods_see_the_same_batches(bench, make_bench, make_weighting):
    """RLW draws from the global generator; its run sees the pictures of every other run."""
    seen = []
    for name in ("sum", "rlw"):
        other = make_bench(bench.tasks)
        trial = Trial(other, make_weighting(name, other.tasks))
        pixels = []
        hook = other.model.backbone.first.register_forward_pre_hook(
            lambda module, args, pixels=pixels: pixels.append(args[0].clone())
        )
        trial.fit()
        hook.remove()
        seen.append(torch.cat(pixels))
    assert torch.equal(*seen)


def test_same_seed_same_bits(make_bench, tasks, make_weighting):
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        bench = make_bench(tasks)
        rows = Trial(bench, make_weighting("rlw", tasks)).fit()
        results.append((rows, bench.model.state_dict()))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(results[0][1][name], results[1][1][name]) for name in results[0][1])


def test_the_loop_asks_for_no_type():
    """House rule 1: no method's name and no `isinstance` of one in train.py."""
    import inspect

    from mtl import train

    source = inspect.getsource(train)
    assert "isinstance" not in source
    assert not [name for name in ("uncertainty", "dwa", "pcgrad", "rlw") if name in source.lower()]


class Looking(Recording):
    """Asks for the losses of the batch again, before and after the optimizer's step."""

    def __init__(self, tasks):
        super().__init__(tasks)
        self.again = []

    def backward(self, step):
        weights = super().backward(step)
        with torch.no_grad():
            self.again.append([loss.item() for loss in step.forward("same")])
        return weights

    def after_step(self, step):
        super().after_step(step)
        with torch.no_grad():
            self.again.append([loss.item() for loss in step.forward("same")])


def test_losses_of_the_same_batch_again(bench, make_bench):
    """Before the step they are the losses, after it they are others; the trained network is that of a run without."""
    weighting = Looking(bench.tasks)
    rows = Trial(bench, weighting).fit()
    for (_, losses), before, after in zip(weighting.steps, weighting.again[::2], weighting.again[1::2], strict=True):
        assert before == pytest.approx(losses, rel=1e-6)
        assert after != before
    other = make_bench(bench.tasks)
    assert Trial(other, Recording(other.tasks)).fit() == rows
    one, two = bench.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(value, two[name]) for name, value in one.items())  # BatchNorm's statistics included


def test_further_batches_are_those_of_the_place(bench):
    """Others at each step and call, whatever was asked before: with a network that stays, losses tell them apart."""

    class Asks(Recording):
        def look(self, step):
            asked.append([x.item() for _ in range(2) for x in step.forward("train")])

    asked = []
    trial = Trial(bench, Asks(bench.tasks), lr=0.0)
    trial.fit()
    assert len({tuple(half) for both in asked for half in (both[:3], both[3:])}) == 20
    steps = Steps(bench.model, bench.tasks, CPU)
    for n, found in enumerate(asked):
        step, _ = steps.make(next(trial.loader.epoch()), further=trial.loader.further(n // 5, n % 5))
        assert found == pytest.approx([x.item() for _ in range(2) for x in step.forward("train")])


def test_another_batch_is_refused(bench):
    weighting = Recording(bench.tasks)
    Trial(bench, weighting, epochs=1).fit()
    with pytest.raises(ValueError, match="no losses of a batch 'holdout'"):
        weighting.steps[0][0].forward("holdout")


def test_a_probe_changes_nothing_but_the_row(weighting_name, make_weighting, make_bench, tasks):
    """To the bit, for every weighting; every third step of five is probed, the first included."""
    results = []
    for probe in (None, 3):
        bench = make_bench(tasks)
        torch.manual_seed(5)
        rows = Trial(bench, make_weighting(weighting_name, tasks)).fit(probe=probe)
        results.append((rows, bench.model.state_dict()))
    (plain, state), (probed, other) = results
    assert all(torch.equal(value, other[name]) for name, value in state.items())
    extra = probed[0].keys() - plain[0].keys()
    assert [{key: row[key] for key in row if key not in extra} for row in probed] == plain
    pairs = ("age/sick", "age/species", "sick/species")
    expected = {f"conflict/{kind}/{pair}" for kind in ("cos", "share", "gms") for pair in pairs}
    assert extra == expected | {f"conflict/norm/{name}" for name in ("age", "sick", "species")} | {"conflict/condition"}
    assert {row["conflict/share/age/sick"] for row in probed} <= {0.0, 0.5, 1.0}
