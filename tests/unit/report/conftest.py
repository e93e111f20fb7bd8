"""Run directories as a training leaves them, without the training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtl.identity import run_name
from mtl.rundir import RunDir

CONFIG: dict[str, Any] = {
    "seed": 0,
    "study": "small",
    "runs_dir": "runs",
    "tasks": ["age", "sick", "species"],
    "names": {"weighting": "sum", "backbone": "resnet18", "data": "trees"},
    "data": {"root": "trees", "split_seed": 0, "synthetic": True, "fingerprint": "ab" * 32},
    "backbone": {"_target_": "mtl.backbones.resnet.ResNet", "depth": 18},
    "weighting": {"kind": "loss-based", "method": {"_target_": "torchjd.Sum"}},
    "optimizer": {"lr": 0.003},
    "train": {"epochs": 5, "device": "cpu"},
}
METRICS = {
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


def configure(**changes: Any) -> dict[str, Any]:
    """CONFIG with `weighting`, and dotted keys (`optimizer__lr`) changed or added."""
    config = copy.deepcopy(CONFIG)
    config["names"]["weighting"] = changes.pop("weighting", "sum")
    config["weighting"]["method"]["_target_"] = config["names"]["weighting"]
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
    """`write_run(status="done", mae=10.0, weighting="dwa", seed=1, optimizer__lr=0.1)` -> the run directory."""

    def write(
        status: str = "done", mae: float = 10.0, error: BaseException | None = None, **changes: Any
    ) -> Path:
        config = configure(**changes)
        run = RunDir(study / run_name(config))
        run.begin()
        run.write_config(config)
        if status == "done":
            test: dict[str, Any] = {task: dict(METRICS[task]) for task in config["tasks"]}
            if "age" in test:
                test["age"]["mae_years"] = mae
            trivial = {task: TRIVIAL[task] for task in config["tasks"]}
            metrics = {
                "selected_epoch": 4,
                "val": {**test, "score": 0.41},
                "test": {**test, "score": 0.4},
                "trivial": trivial,
            }
            run.write_json("metrics.json", metrics)
            run.write_json(
                "cost.json", {"total_s": 60.0, "step_ms": 103.2, "images_per_s": 620.0, "peak_mib": 410.5}
            )
        if status != "running":
            run.end(status, error)
        return run.path

    return write
