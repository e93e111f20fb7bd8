"""The drawn data set: the same bytes for the same seed, whole or not there, and labels that can be seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtl.config import compose
from mtl.data.trees import draw
from mtl.data.trunk import SPECIES, picture


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    return draw(tmp_path_factory.mktemp("cache"), 240, 0)


@pytest.fixture(scope="module")
def labels(drawn) -> np.ndarray:
    """Age, sick, species [N, 3] out of the names."""
    return np.array([[int(part) for part in path.name.split("_")[:3]] for path in sorted(drawn.iterdir())])


@pytest.fixture(scope="module")
def pixels(drawn) -> np.ndarray:
    return np.array([np.asarray(Image.open(path)) for path in sorted(drawn.iterdir())])


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    one, two, other = (draw(tmp_path / name, 12, seed) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert contents(one) == contents(two)
    assert not set(contents(one).values()) & set(contents(other).values())


def test_a_larger_set_extends_a_smaller_one(tmp_path, drawn):
    small = contents(draw(tmp_path, 20, 0))
    large = contents(drawn)
    assert len(small) == 20
    assert all(large[name] == content for name, content in small.items())


def test_the_drawing_does_not_touch_the_global_generator(tmp_path):
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    draw(tmp_path, 2, 0)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_pictures_and_labels_are_what_they_should_be(pixels, labels):
    assert pixels.shape == (240, 64, 64, 3)
    age, sick, species = labels.T
    assert 1 <= age.min() < 10
    assert 75 < age.max() <= 116
    assert 24 <= np.median(age) <= 37
    assert 0.3 < sick.mean() < 0.6
    assert set(species) == set(range(len(SPECIES)))
    assert (species == 0).mean() > (species == 4).mean()


def test_the_classes_of_the_config_are_the_drawn_ones():
    config = compose([])["data"]["tasks"]
    assert config["species"]["classes"] == list(SPECIES)
    assert (config["age"]["low"], config["age"]["high"]) == (1, 116)


def test_labels_can_be_seen():
    """The same trunk drawn with other labels: more rings change the disc, disease and species change its colour."""

    def draw_one(seed, age=40, sick=0, species=0):
        return picture(np.random.default_rng(seed), age, sick, species, 64).astype(float)

    for seed in range(5):
        sound = draw_one(seed)
        assert np.abs(draw_one(seed, age=100) - sound).mean() > 2
        assert np.abs(draw_one(seed, species=3) - sound).mean() > 2
    assert np.mean([np.abs(draw_one(seed, sick=1) - draw_one(seed)).mean() for seed in range(10)]) > 1


def test_pictures_differ(pixels):
    """No two are near-duplicates by the rule for real pictures."""
    from mtl.data.duplicates import cluster

    grey = pixels.mean(3).reshape(-1, 16, 4, 16, 4).mean((2, 4))
    assert len(set(cluster(grey).tolist())) == len(pixels)


@pytest.mark.parametrize("arguments", [{"num": 0}, {"num": True}, {"seed": -1}, {"size": 8}, {"num": "many"}])
def test_what_cannot_be_drawn(arguments, tmp_path):
    with pytest.raises(ValueError, match=r"data\.draw\.\w+=\S+: expected a whole number"):
        draw(tmp_path, **{"num": 2, "seed": 0, **arguments})
    assert not list(tmp_path.iterdir())


SCRIPT = """
import sys
from pathlib import Path
from mtl.data.trees import draw
draw(Path(sys.argv[1]), int(sys.argv[2]), 0, progress=lambda done, num: print(done, flush=True))
"""


def start(cache: Path, num: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(cache), str(num)], stdout=subprocess.PIPE, text=True)


def test_a_killed_drawing_leaves_no_set_and_is_cleaned_up_later(tmp_path):
    process = start(tmp_path, 5000)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (leftover,) = tmp_path.iterdir()
    assert leftover.name.startswith(".")
    renamed = leftover.with_name(leftover.name.replace("5000", "3"))
    leftover.rename(renamed)
    hours_ago = time.time() - 7200
    os.utime(renamed, (hours_ago, hours_ago))
    folder = draw(tmp_path, 3, 0)
    assert list(tmp_path.iterdir()) == [folder]


def test_two_at_once_draw_one_set(tmp_path):
    processes = [start(tmp_path, 30) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    for process in processes:
        process.communicate()
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.iterdir())) == 30
    before = folder.stat().st_mtime_ns
    assert draw(tmp_path, 30, 0) == folder
    assert folder.stat().st_mtime_ns == before
