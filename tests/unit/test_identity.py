"""Run names: what changes them and what does not."""

from __future__ import annotations

import pytest

from mtl.config import compose
from mtl.identity import flatten, hash8, run_name, scientific


def test_flatten():
    assert flatten({"a": 1, "b": {"c": [1, {"x": 2}], "d": {"e": None}, "f": {}}}) == {
        "a": 1,
        "b.c": [1, {"x": 2}],
        "b.d.e": None,
    }


@pytest.fixture(scope="module")
def default():
    return compose([])


@pytest.mark.parametrize(
    "overrides",
    [
        ["seed=7"],
        ["study=other"],
        ["runs_dir=elsewhere"],
        ["data.root=/pictures"],
        ["data.cache=/cache"],
        ["data.workers=3"],
        ["backbone.channels_last=true"],
        ["mode=check"],
        ["train.probe=null"],
        ["train.device=cuda"],
        ["train.threads=5"],
        ["train.keep=last"],
        ["logger=none"],
        ["logger.wandb.mode=disabled"],
        ["logger.wandb.project=mine"],
        ["weighting.paper=mine"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_where_and_how_it_is_watched_is_not_science(overrides, default):
    assert hash8(compose(overrides)) == hash8(default)


@pytest.mark.parametrize(
    "overrides",
    [
        ["weighting=mean"],
        ["backbone=resnet34"],
        ["head=linear"],
        ["age_target=raw"],
        ["data=utkface"],
        ["optimizer=sgd"],
        ["schedule=constant"],
        ["tasks=[age]"],
        ["data.split_seed=1"],
        ["data.image_size=64"],
        ["data.draw.num=200"],
        ["data.missing_rate=0.1"],
        ["data.augment.shift=0"],
        ["data.near_duplicates=true"],
        ["train.amp=true"],
        ["train.epochs=6"],
        ["train.batch_size=32"],
        ["train.clip=1"],
        ["control.lr=0.1"],
        ["optimizer.lr=0.01"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_what_changes_the_result_changes_the_hash(overrides, default):
    assert hash8(compose(overrides)) != hash8(default)


def test_hyperparameter_and_pictures_change_the_hash(default):
    assert hash8(compose(["weighting=dwa"])) != hash8(compose(["weighting=dwa", "weighting.method.temperature=1"]))
    config = default
    assert hash8(config | {"data": config["data"] | {"fingerprint": "ab"}}) != hash8(config)


def test_order_of_keys_does_not_matter(default):
    assert hash8(dict(reversed(default.items()))) == hash8(default)


def test_run_name():
    config = compose(["weighting=dwa", "backbone=mobilenet", "seed=12"])
    assert run_name(config) == f"dwa-mobilenet-{hash8(config)}-s12"
    assert len(hash8(config)) == 8
    assert int(hash8(config), 16) >= 0


def test_the_name_is_the_same_on_every_machine():
    """First 8 digits of sha256 over sorted JSON: `echo -n '{"a": 1, "b.c": [2.5, null, true]}' | sha256sum`."""
    config = {"b": {"c": [2.5, None, True]}, "a": 1, "seed": 3}
    assert scientific(config) == {"a": 1, "b.c": [2.5, None, True]}
    assert hash8(config) == "78a9c722"


def test_a_key_is_not_left_out_for_its_beginning():
    """`seed` is no science, `seeds` and `data.rootless` would be."""
    assert set(
        scientific({"seeds": 1, "seed": 2, "data": {"rootless": 3, "root": 4}, "logger": {"wandb": {"mode": 5}}})
    ) == {"seeds", "data.rootless"}
