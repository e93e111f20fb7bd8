"""Batches: the same for every method of a study, whole in training, all of them in evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtl.data.loader import Augment, Loader
from mtl.data.noise import LabelNoise

CPU = torch.device("cpu")
AUGMENT = Augment(flip=True, shift=2)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def labels():
    number = torch.arange(40).float()
    return torch.stack([number + 1, number % 2, number % 5], 1)


@pytest.fixture
def make(images, labels, tasks):
    def make(indices=range(3, 40), batch_size=8, augment=AUGMENT, **options):
        return Loader(images, labels, np.asarray(list(indices)), tasks, batch_size, CPU, augment=augment, **options)

    return make


def content(loader, epoch):
    return [(batch.images, batch.targets, batch.masks, batch.indices) for batch in loader.epoch(epoch)]


def equal(one, two):
    return len(one) == len(two) and all(
        torch.equal(a, b) for x, y in zip(one, two, strict=True) for a, b in zip(x, y, strict=True)
    )


def order(loader, epoch):
    return torch.cat([batch.indices for batch in loader.epoch(epoch)]).tolist()


def test_same_batches_whatever_the_global_generator_did(make, tasks):
    """A method that draws random numbers between the batches (RLW, PCGrad) sees the batches of all others."""
    noise = LabelNoise((5.0, 0.2, 0.2), "fresh", 0.0)
    quiet = content(make(seed=1, noise=noise), 2)
    torch.manual_seed(99)
    noisy = []
    for batch in make(seed=1, noise=noise).epoch(2):
        torch.rand(17)
        torch.randperm(5)
        np.random.rand(3)  # noqa: NPY002
        noisy.append((batch.images, batch.targets, batch.masks, batch.indices))
    assert equal(quiet, noisy)


def test_batches_leave_the_global_generator(make):
    before = torch.get_rng_state()
    content(make(), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_order_differs_by_epoch_and_seed(make):
    orders = {tuple(order(make(seed=seed), epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_a_resumed_run_sees_the_batches_it_would_have_seen(make):
    loader = make(seed=1)
    through = [content(loader, epoch) for epoch in range(3)]
    assert equal(content(make(seed=1), 2), through[2])


def test_single_task_run_sees_the_same_pictures(images, labels, make, make_tasks):
    """Pairing of single-task with multi-task runs: order and augmentation do not depend on the tasks."""
    alone = Loader(images, labels[:, 1:2], np.arange(3, 40), make_tasks(["sick"]), 8, CPU, augment=AUGMENT, seed=4)
    for one, two in zip(make(seed=4).epoch(1), alone.epoch(1), strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.targets[:, 1:2], two.targets)


def test_single_task_run_sees_the_same_pictures_and_labels_under_fresh_noise(images, labels, make, make_tasks):
    """The noise of one task does not depend on which others are trained either."""
    noise = LabelNoise((5.0, 0.3, 0.3), "fresh", 0.0)
    alone = Loader(
        images, labels[:, 1:2], np.arange(3, 40), make_tasks(["sick"]), 8, CPU,
        augment=AUGMENT, seed=4, noise=LabelNoise((0.3,), "fresh", 0.0),
    )  # fmt: skip
    for one, two in zip(make(seed=4, noise=noise).epoch(1), alone.epoch(1), strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.targets[:, 1:2], two.targets)


def test_training_drops_the_last_partial_batch(make):
    """37 pictures in batches of 8: 4 batches, each picture at most once, another 5 left out in each epoch."""
    loader = make()
    assert len(loader) == 4
    batches = list(loader.epoch(0))
    assert [len(batch.images) for batch in batches] == [8] * 4
    seen = order(loader, 0)
    assert len(set(seen)) == 32
    assert set(seen) < set(range(3, 40))
    assert set(seen) != set(order(loader, 1))


def test_evaluation_keeps_all_in_order(make, images):
    loader = make(augment=None)
    assert len(loader) == 5
    batches = list(loader.epoch())
    assert [len(batch.images) for batch in batches] == [8, 8, 8, 8, 5]
    assert order(loader, 0) == list(range(3, 40))
    assert equal(content(loader, 0), content(loader, 1))


def test_evaluation_of_whole_batches_has_no_empty_one(make):
    assert [len(batch.images) for batch in make(range(16), augment=None).epoch()] == [8, 8]


@pytest.mark.parametrize("augment", [AUGMENT, None])
def test_a_set_smaller_than_a_batch(make, augment):
    loader = make(range(5), batch_size=64, augment=augment)
    (batch,) = loader.epoch(0)
    assert sorted(batch.indices.tolist()) == [0, 1, 2, 3, 4]
    assert len(loader) == 1


def test_pictures_and_labels_belong_together(make, images, labels):
    """Without augmentation the pixels are those of the index; with it the labels still are."""
    from mtl.data.augment import normalise

    for batch in make(augment=None).epoch():
        assert torch.equal(batch.images, normalise(torch.from_numpy(images[batch.indices.numpy()])))
        assert torch.equal(batch.targets, labels[batch.indices])
    for batch in make().epoch(3):
        assert torch.equal(batch.targets, labels[batch.indices])
    for batch in make(augment=Augment(flip=False, shift=0)).epoch(3):
        assert torch.equal(batch.images, normalise(torch.from_numpy(images[batch.indices.numpy()])))


def test_augmentation_changes_from_epoch_to_epoch(make, images):
    """One picture over ten epochs: several versions of it."""
    loader = make([7, 8], batch_size=2)
    versions = {
        batch.images[batch.indices.tolist().index(7)].sum().item()
        for epoch in range(10)
        for batch in loader.epoch(epoch)
    }
    assert len(versions) > 3


def test_masks_and_active(make, labels):
    labels[:, 0] = float("nan")
    labels[::2, 2] = float("nan")
    for batch in make().epoch(0):
        assert batch.active == [False, True, True]
        assert not batch.masks[:, 0].any()
        assert batch.masks[:, 1].all()
        assert torch.equal(batch.masks[:, 2], batch.indices % 2 == 1)
        assert torch.isfinite(batch.targets).all()
        assert (batch.targets[~batch.masks] == 1).all()  # a valid age and class
        assert torch.equal(batch.targets[:, 1], labels[batch.indices, 1])


def test_a_batch_without_any_label(make, labels):
    labels[:] = float("nan")
    batch = next(make().epoch(0))
    assert batch.active == [False, False, False]


def test_types_and_shapes(make):
    batch = next(make().epoch(0))
    assert (batch.images.shape, batch.images.dtype) == ((8, 3, 8, 8), torch.float32)
    assert (batch.targets.shape, batch.targets.dtype) == ((8, 3), torch.float32)
    assert (batch.masks.shape, batch.masks.dtype) == ((8, 3), torch.bool)
    assert (batch.indices.shape, batch.indices.dtype) == ((8,), torch.int64)
    assert all(type(flag) is bool for flag in batch.active)


def test_fresh_noise_is_for_training_only(make, labels):
    noise = LabelNoise((5.0, 0.5, 0.5), "fresh", 0.0)
    trained = torch.cat([batch.targets - labels[batch.indices] for batch in make(noise=noise).epoch(0)])
    assert (trained.abs().sum(0) > 0).all()
    for batch in make(noise=noise, augment=None).epoch(0):
        assert torch.equal(batch.targets, labels[batch.indices])


def test_fresh_noise_differs_at_each_visit(make, labels):
    noise = LabelNoise((5.0, 0.0, 0.0), "fresh", 0.0)
    loader = make([7, 8], batch_size=2, noise=noise)
    ages = {
        batch.targets[batch.indices.tolist().index(7), 0].item() for epoch in range(10) for batch in loader.epoch(epoch)
    }
    assert len(ages) == 10
    assert labels[7, 0] == 8  # the stored label is untouched


def test_further_batches_are_drawn_each_by_itself(make, images):
    """From all pictures of the part, without one twice in a batch; another at each draw and place, and each time so."""
    loader = make(seed=1)
    draws = [batch for batch, _ in zip(loader.further(2, 1), range(60), strict=False)]
    members = [tuple(batch.indices.tolist()) for batch in draws]
    assert len(set(members)) == 60
    assert all(len(set(batch)) == loader.batch_size for batch in members)
    assert {index for batch in members for index in batch} == set(range(3, 40))
    again = next(make(seed=1).further(2, 1))
    assert torch.equal(again.images, draws[0].images)
    assert torch.equal(again.targets, draws[0].targets)
    others = [next(make(seed=1).further(*place)).indices.tolist() for place in ((2, 2), (3, 1))]
    assert tuple(others[0]) != members[0] != tuple(others[1])
    assert next(make(seed=2).further(2, 1)).indices.tolist() != list(members[0])
    assert all(list(batch) not in [b.indices.tolist() for b in loader.epoch(2)] for batch in members)


def test_further_batches_are_augmented_anew_and_leave_those_of_the_epoch(make):
    """The only picture looks different from draw to draw; the epoch's batches are the same whether others are drawn."""
    draws = [batch.images for batch, _ in zip(make(indices=[3], seed=1).further(0, 0), range(12), strict=False)]
    assert len({image.numpy().tobytes() for image in draws}) > 6  # of 2 x 5 x 5 flips and shifts
    quiet = content(make(seed=1), 0)
    loud, loader = [], make(seed=1)
    for number, batch in enumerate(loader.epoch(0)):
        next(loader.further(0, number))
        loud.append((batch.images, batch.targets, batch.masks, batch.indices))
    assert equal(quiet, loud)
