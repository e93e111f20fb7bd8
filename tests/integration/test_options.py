"""Every option of every group trains, validates and is tested, found by its YAML; and options that go together.

Loggers are not among them: W&B leaves a service process behind, so test_run starts it in a process of its own.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from mtl.config import CONF, compose
from mtl.data.trees import draw
from mtl.experiment import run

GROUPS = ("data", "backbone", "head", "age_target", "weighting", "optimizer", "schedule", "train")
OPTIONS = [f"{group}={path.stem}" for group in GROUPS for path in sorted((CONF / group).glob("[!_]*.yaml"))]
TINY = (
    "backbone=mobilenet",
    "data.image_size=16",
    "data.workers=1",
    "train.epochs=1",
    "train.batch_size=16",
    "train.device=cpu",
    "train.threads=1",
    "logger=none",
)


@pytest.fixture
def train(cache, tmp_path):
    """Trains with these overrides on 60 pictures; its run directory's metrics and history."""

    def call(*overrides: str) -> tuple[dict, list[dict]]:
        # UTKFace has the same layout and the same three kinds of task: drawn pictures stand in for it.
        drawn = draw(cache, 60, 0, 32)
        config = compose([*TINY, f"data.root={drawn}", f"data.cache={cache}", f"runs_dir={tmp_path}", *overrides])
        run(config)
        (directory,) = (path.parent for path in Path(tmp_path).rglob("status.json"))
        assert json.loads((directory / "status.json").read_text())["status"] == "done"
        rows = [json.loads(line) for line in (directory / "history.jsonl").read_text().splitlines()]
        return json.loads((directory / "metrics.json").read_text()), rows

    return call


def test_every_group_has_options():
    assert {option.partition("=")[0] for option in OPTIONS} == set(GROUPS)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_trains(option, train):
    needs_32 = option in ("backbone=convnext_tiny", "backbone=densenet121")
    metrics, rows = train(option, f"data.image_size={32 if needs_32 else 16}")
    assert len(metrics["test"]) == 4  # three tasks and the score
    assert all(isinstance(rows[0][f"train/loss/{task}"], float) for task in metrics["val"] if task != "score")


@pytest.mark.parametrize("weighting", ["uncertainty", "pcgrad"])
def test_noise_and_missing_labels(weighting, train):
    metrics, rows = train(
        f"weighting={weighting}",
        "data.missing_rate=0.5",
        "data.noise={age: 5, sick: 0.1, species: 0.1}",
        "data.noise_mode=fresh",
        "train.epochs=2",
    )
    assert len(rows) == 2
    assert metrics["trivial"]["age"]["mae_years"] > 0


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2", "convnext_tiny"])
def test_small_stem(backbone, train):
    _, rows = train(f"backbone={backbone}", "backbone.stem=small")
    assert len(rows) == 1


@pytest.mark.parametrize("target", ["raw", "log_sigmoid"])
@pytest.mark.parametrize("loss", ["l1", "mse", "smooth_l1", "nll"])
def test_every_loss_of_age(loss, target, train, tmp_path):
    """With the weighting that asks what the loss is the likelihood of; predictions are years, one a picture."""
    metrics, rows = train(f"age_target={target}", f"age_target.loss={loss}", "weighting=uncertainty")
    assert rows[0]["train/loss/age"] > 0
    assert (rows[0]["weight/age"] == 1) == (loss == "nll")
    (path,) = tmp_path.rglob("predictions.csv")
    table = list(csv.DictReader(path.read_text().splitlines()))
    error = sum(abs(float(row["age/pred"]) - float(row["age/true"])) for row in table) / len(table)
    assert metrics["test"]["age"]["mae_years"] == pytest.approx(error, rel=1e-4)
    assert "age/p0" not in table[0]


def test_two_logits_a_single_task_and_raw_years(train):
    metrics, rows = train(
        "tasks=[sick,age]", "head.binary_outputs=2", "age_target=raw", "train.clip=1", "train.amp=true"
    )
    assert list(metrics["test"]) == ["sick", "age", "score"]
    assert 0 < rows[0]["clip_factor"] <= 1
