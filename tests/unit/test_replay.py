"""Replay of a run's mean effective weights: numbers, name, identity, and what is refused."""

from __future__ import annotations

import copy

import pytest

from mtl.config import compose
from mtl.identity import hash8, run_name, scientific
from mtl.replay import replay
from mtl.rundir import RunDir

ROWS = [
    {"epoch": 0, "weight/age": 1.0, "weight/sick": 0.5, "weight/species": None},
    {"epoch": 1, "weight/age": 3.0, "weight/sick": 1.5, "weight/species": 0.25},
]


@pytest.fixture
def finished(tmp_path):
    """A finished run of DWA with the given seed; its folder."""

    def make(seed=0, rows=ROWS, status="done", *overrides):
        config = compose(["weighting=dwa", f"seed={seed}", *overrides])
        config["data"]["fingerprint"] = "f"
        run = RunDir(tmp_path / run_name(config))
        run.begin()
        run.write_config(config)
        run.keep("history.jsonl", rows)
        run.end(status)
        return run.path

    return make


def replayed(path, *overrides):
    config = compose(["weighting=constant", f"weighting.from_run={path}", *overrides])
    config["data"]["fingerprint"] = "f"
    replay(config)
    return config


def test_weights_are_the_means_over_the_epochs(finished):
    config = replayed(finished())
    assert config["weighting"]["method"]["weights"] == {"age": 2.0, "sick": 1.0, "species": 0.25}
    assert config["names"]["weighting"] == "replay_dwa"
    assert run_name(config).startswith("replay_dwa-resnet18-")


def test_replays_of_several_seeds_are_one_row(finished):
    """Each seed replays its own run, whose weights differ; a run of another seed is another experiment."""
    other = [row | {"weight/age": 9.0} for row in ROWS]
    first, second = replayed(finished(0), "seed=0"), replayed(finished(1, other), "seed=1")
    assert first["weighting"]["method"]["weights"] != second["weighting"]["method"]["weights"]
    assert hash8(first) == hash8(second)
    assert hash8(replayed(finished(0), "seed=1")) != hash8(first)
    assert not [key for key in scientific(first) if "method.weights" in key]


def test_other_runs_give_other_replays(finished):
    path = finished(0, ROWS, "done", "weighting.method.temperature=3")
    assert hash8(replayed(path)) != hash8(replayed(finished()))


def test_without_it_nothing_changes():
    config = compose(["weighting=constant", "weighting.method.weights={age: 2}"])
    before = copy.deepcopy(config)
    replay(config)
    assert config == before
    assert "weighting.method.weights.age" in scientific(config)


@pytest.mark.parametrize(
    ("arguments", "overrides", "sentence"),
    [
        ((0, ROWS, "interrupted"), [], "the run dwa-.* is not finished"),
        ((0, ROWS, "done", "tasks=[age]"), [], "that run has the tasks age, this one age, sick, species"),
        ((0, ROWS[:1]), [], "no weight of task 'species'"),
        ((), ["weighting.method.weights={age: 2}"], "leave one of them out"),
    ],
)
def test_refuses(finished, arguments, overrides, sentence):
    with pytest.raises(ValueError, match=rf"^weighting\.from_run=.*{sentence}.*\.$"):
        replayed(finished(*arguments), *overrides)


@pytest.mark.parametrize("content", [None, "[", "names: 3"])
def test_no_run(tmp_path, content):
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(ValueError, match="expected the folder of a run"):
        replayed(tmp_path)
