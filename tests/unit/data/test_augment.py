"""Flip, reflected shift and normalisation by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtl.data.augment import flip_and_shift, normalise


def pictures(number=64, size=5):
    """Every pixel holds row and column, so that a picture says what was done to it: channels row, column, number."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    planes = torch.stack([rows, columns, torch.zeros_like(rows)], 2).expand(number, size, size, 3).clone()
    planes[..., 2] = torch.arange(number).view(-1, 1, 1) % 256
    return planes.to(torch.uint8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_normalise_by_hand():
    """(x / 255 - mean) / std with ImageNet's numbers; channels come first."""
    picture = torch.tensor([[[[0, 128, 255], [255, 0, 51]]]], dtype=torch.uint8)
    found = normalise(picture)
    assert found.shape == (1, 3, 1, 2)
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wanted = (picture[0, 0].numpy() / 255 - mean) / std
    np.testing.assert_allclose(found[0, :, 0].numpy().T, wanted, rtol=1e-5, atol=1e-6)


def test_shift_reflects_at_the_border():
    """Rows 0 1 2 3 4 moved by 2 are 2 3 4 3 2; by -1 they are 1 0 1 2 3. Each picture is one of the 5 x 5 moves."""
    axis = {-2: [2, 1, 0, 1, 2], -1: [1, 0, 1, 2, 3], 0: [0, 1, 2, 3, 4], 1: [1, 2, 3, 4, 3], 2: [2, 3, 4, 3, 2]}
    seen = set()
    for picture in flip_and_shift(pictures(200), False, 2, generator()):
        rows, columns = picture[:, 0, 0].tolist(), picture[0, :, 1].tolist()
        seen.add(next((a, b) for a in axis for b in axis if axis[a] == rows and axis[b] == columns))
        assert (picture[:, :, 0] == picture[:, :1, 0]).all()
        assert (picture[:, :, 1] == picture[:1, :, 1]).all()
    assert len(seen) == 25


def test_flip_mirrors_half_of_the_pictures():
    flipped = flip_and_shift(pictures(400), True, 0, generator())
    straight, mirrored = torch.arange(5), torch.arange(5).flip(0)
    rows = flipped[:, 0, :, 1]
    assert ((rows == straight).all(1) | (rows == mirrored).all(1)).all()
    assert 160 < (rows == mirrored).all(1).sum() < 240
    assert (flipped[:, :, 0, 0] == straight).all()  # never upside down


def test_flip_and_shift_together():
    """Mirrored first or not, then moved: the same moves without the flip, of the picture or of its mirror."""
    both = flip_and_shift(pictures(100), True, 2, generator(3))
    same = (both == flip_and_shift(pictures(100), False, 2, generator(3))).flatten(1).all(1)
    mirror = (both == flip_and_shift(pictures(100).flip(2), False, 2, generator(3))).flatten(1).all(1)
    assert (same | mirror).all()
    assert 20 < mirror.sum() < 80


def test_nothing_to_do():
    assert torch.equal(flip_and_shift(pictures(), False, 0, generator()), pictures())


def test_order_of_the_pictures_stays():
    changed = flip_and_shift(pictures(100), True, 2, generator())
    assert (changed[..., 2] == torch.arange(100).view(-1, 1, 1)).all()


@pytest.mark.parametrize("shift", [1, 15])
def test_largest_shift_of_the_smallest_picture(shift):
    """data.augment.shift goes to 15 and data.image_size down to 16: no index leaves the picture."""
    assert flip_and_shift(pictures(50, 16), True, shift, generator()).max() == 49


def test_draws_come_from_the_given_generator():
    one = flip_and_shift(pictures(), True, 2, generator(1))
    torch.rand(7)
    before = torch.get_rng_state()
    two = flip_and_shift(pictures(), True, 2, generator(1))
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(one, flip_and_shift(pictures(), True, 2, generator(2)))
    shared = generator(1)
    flip_and_shift(pictures(), True, 2, shared)
    assert not torch.equal(one, flip_and_shift(pictures(), True, 2, shared))


def test_input_is_left_alone():
    images = pictures()
    flip_and_shift(images, True, 2, generator())
    normalise(images)
    assert torch.equal(images, pictures())
