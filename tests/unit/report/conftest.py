"""Run directories as a training leaves them, without the training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtl.identity import run_name
from mtl.metrics import score
from mtl.rundir import RunDir

CONFIG: dict[str, Any] = {
    "seed": 0,
    "study": "small",
    "runs_dir": "runs",
    "tasks": ["age", "sick", "species"],
    "names": {"weighting": "sum", "backbone": "resnet18", "data": "trees"},
    "data": {
        "root": "trees",
        "split_seed": 0,
        "image_size": 32,
        "synthetic": True,
        "fingerprint": "ab" * 32,
        "tasks": {
            "age": {"kind": "regression", "low": 1, "high": 116, "unit": "years"},
            "sick": {"kind": "binary", "classes": ["healthy", "sick"]},
            "species": {"kind": "multiclass", "classes": ["oak", "pine", "ash", "elm", "fir"]},
        },
    },
    "backbone": {"_target_": "mtl.backbones.resnet.ResNet", "depth": 18},
    "weighting": {"method": {"_target_": "sum"}},
    "optimizer": {"lr": 0.003},
    "control": {"lr": 0.025},
    "train": {"epochs": 5, "device": "cpu"},
}
TEST: dict[str, dict[str, float | None]] = {
    "age": {"mae_years": 10.0, "rmse_log": 0.1018},
    "sick": {"accuracy": 0.892, "balanced_accuracy": 0.881, "f1_macro": 0.879},
    "species": {"accuracy": 0.786, "balanced_accuracy": 0.70, "f1_macro": 0.69},
}
TRIVIAL = {
    "age": {"mae_years": 14.97, "rmse_log": 0.21},
    "sick": {"accuracy": 0.523, "balanced_accuracy": 0.5, "f1_macro": 0.34},
    "species": {"accuracy": 0.425, "balanced_accuracy": 0.2, "f1_macro": 0.12},
}

WriteRun = Callable[..., Path]


def configure(weighting: str, changes: dict[str, Any]) -> dict[str, Any]:
    """CONFIG with another weighting and other values: `optimizer__lr` is `optimizer.lr`."""
    config = copy.deepcopy(CONFIG)
    config["names"]["weighting"] = config["weighting"]["method"]["_target_"] = weighting
    for key, value in changes.items():
        *parents, last = key.split("__")
        node = config
        for parent in parents:
            node = node[parent]
        node[last] = value
    return config


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "small"


@pytest.fixture
def write_run(study: Path) -> WriteRun:
    """`write_run("dwa", seed=1, mae=9.5, optimizer__lr=0.1)` writes a finished run; its directory.

    Its test score is what the metrics give; `history` are rows of history.jsonl, `predictions` is predictions.csv.
    """

    def write(
        weighting: str = "sum",
        status: str = "done",
        *,
        mae: float | None = 10.0,
        step_ms: float = 103.2,
        history: list[dict[str, Any]] | None = None,
        predictions: str | None = None,
        error: BaseException | None = None,
        **changes: Any,
    ) -> Path:
        config = configure(weighting, changes)
        run = RunDir(study / run_name(config))
        run.begin()
        run.write_config(config)
        if status == "done":
            test = copy.deepcopy({task: TEST[task] for task in config["tasks"]})
            if "age" in test:
                test["age"]["mae_years"] = mae
            trivial = {task: TRIVIAL[task] for task in config["tasks"]}
            metrics = {
                "selected_epoch": 4,
                "val": test | {"score": 0.41},
                "test": test | {"score": score(test, trivial)},
                "trivial": trivial,
            }
            run.write_json("metrics.json", metrics)
            if history is not None:
                run.keep("history.jsonl", history)
            if predictions is not None:
                run.write("predictions.csv", predictions)
            cost = {"total_s": 60.0, "step_ms": step_ms, "images_per_s": 620.0, "peak_mib": 410.5}
            run.write_json("cost.json", cost)
        if status != "running":
            run.end(status, error)
        return run.path

    return write
