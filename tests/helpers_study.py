"""Whole studies as trainings leave them, with made numbers: for pages and figures, where what counts is their form."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

TASKS: dict[str, dict[str, Any]] = {
    "age": {"kind": "regression", "low": 1, "high": 116, "unit": "years"},
    "sick": {"kind": "binary", "classes": ["healthy", "sick"]},
    "species": {"kind": "multiclass", "classes": ["pine", "oak", "beech", "birch", "cherry"]},
}
TRIVIAL: dict[str, dict[str, float]] = {
    "age": {"mae_years": 15.0, "rmse_log": 0.21},
    "sick": {"accuracy": 0.53, "balanced_accuracy": 0.5, "f1_macro": 0.35},
    "species": {"accuracy": 0.42, "balanced_accuracy": 0.2, "f1_macro": 0.12},
}
CONFIG: dict[str, Any] = {
    "seed": 0,
    "study": "made",
    "runs_dir": "runs",
    "tasks": list(TASKS),
    "names": {"weighting": "sum", "backbone": "mobilenet", "data": "trees"},
    "data": {
        "root": None,
        "draw": None,
        "synthetic": True,
        "image_size": 32,
        "split_seed": 0,
        "tasks": TASKS,
        "fingerprint": "ab" * 32,
    },
    "backbone": {"_target_": "mtl.backbones.torchvision.Torchvision", "arch": "mobilenet_v3_small"},
    "weighting": {"kind": "loss-based", "same_as": [], "method": {"_target_": "mtl.weighting.torchjd.Scalarizer"}},
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.003},
    "train": {"epochs": 6, "batch_size": 64, "threads": 1, "device": "auto"},
}
ENVIRONMENT = {
    "python": "3.11.7",
    "packages": {"torch": "2.15.0", "numpy": "2.4.6"},
    "git": {"commit": "0123456789", "dirty": False},
    "device": "cpu",
    "threads": 1,
}


def make_pictures(root: Path, num: int) -> list[str]:
    """`num` pictures of noise in the folder `root`, named like a data set's; their names."""
    root.mkdir(parents=True, exist_ok=True)
    rng, names = np.random.default_rng(0), []
    for index in range(num):
        name = f"{rng.integers(1, 117)}_{rng.integers(0, 2)}_{rng.integers(0, 5)}_{index:05d}.png"
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / name)
        names.append(name)
    return names


def make_run(
    study: Path,
    weighting: str,
    seed: int,
    *,
    gain: float = 0.0,
    changes: Mapping[str, Any] | None = None,
    tasks: Sequence[str] = tuple(TASKS),
    epochs: int = 6,
    names: Sequence[str] = (),
    status: str = "done",
    error: str = "",
) -> Path:
    """One run directory: `gain` is added to the skill of all tasks, `changes` are dotted keys of its config."""
    config = copy.deepcopy(CONFIG)
    config |= {"seed": seed, "tasks": list(tasks), "study": study.name}
    config["names"]["weighting"] = weighting
    config["train"]["epochs"] = epochs
    for key, value in (changes or {}).items():
        *parents, last = key.split(".")
        node = config
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    key = abs(hash_of([weighting, dict(changes or {}), list(tasks)])) % 16**8
    safe = "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in weighting)
    directory = study / f"{safe}-mobilenet-{key:08x}-s{seed}"
    directory.mkdir(parents=True)
    overrides = [f"study={study.name}", f"weighting={weighting}", f"seed={seed}"]
    overrides += [f"{name}={value}" for name, value in (changes or {}).items()]
    overrides += [f"tasks=[{','.join(tasks)}]"] * (len(tasks) < len(TASKS))
    facts = {"status": status, "overrides": overrides, "epoch": epochs, "epochs": epochs}
    facts |= {"started": "2026-11-22T14:42:09+00:00"} | ({"error": error, "traceback": error} if error else {})
    rng = np.random.default_rng([seed, key])
    block = np.random.default_rng(seed).normal(0, 0.01)
    skills = {task: 0.5 + gain + block + rng.normal(0, 0.008) for task in tasks}
    test = {task: _metrics(task, skill) for task, skill in skills.items()}
    score = float(np.mean(list(skills.values())))
    write = {"config.yaml": yaml.dump(config, sort_keys=False), "env.json": json.dumps(ENVIRONMENT)}
    if status == "done":
        metrics = {"selected_epoch": epochs - 2, "val": test | {"score": score + 0.01}}
        metrics |= {"test": test | {"score": score}, "trivial": {task: TRIVIAL[task] for task in tasks}}
        step = 60 + 20 * rng.random() + (80 if weighting in ("pcgrad", "mgda") else 0)
        cost = {"total_s": 210.0, "train_s": 1.5 * step, "step_ms": step, "images_per_s": 64e3 / step}
        cost |= {"peak_mib": 650 + 60 * rng.random(), "parameters": 1371943}
        write |= {"metrics.json": json.dumps(metrics), "cost.json": json.dumps(cost)}
        write["history.jsonl"] = "".join(f"{json.dumps(row)}\n" for row in _history(rng, skills, epochs))
        if names:
            _predictions(rng, names, tasks).to_csv(directory / "predictions.csv", index=False)
    for name, text in (write | {"status.json": json.dumps(facts)}).items():
        (directory / name).write_text(text, encoding="utf-8")
    return directory


def hash_of(content: Any) -> int:
    """A number that is the same in every process."""
    import zlib

    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def make_study(
    study: Path,
    rows: Sequence[tuple[str, float, Mapping[str, Any]]],
    seeds: int,
    *,
    single: bool = True,
    epochs: int = 6,
    names: Sequence[str] = (),
) -> None:
    """Runs of (weighting, gain in skill, changes of the config), and with `single` one network per task."""
    for seed in range(seeds):
        for weighting, gain, changes in rows:
            make_run(study, weighting, seed, gain=gain, changes=changes, epochs=epochs, names=names)
        for task in TASKS if single else ():
            make_run(study, "sum", seed, gain=0.02, tasks=[task], epochs=epochs, names=names)


def _metrics(task: str, skill: float) -> dict[str, float]:
    trivial = TRIVIAL[task]
    if "mae_years" in trivial:
        return {"mae_years": trivial["mae_years"] * (1 - skill), "rmse_log": trivial["rmse_log"] * (1 - skill)}
    return {metric: guess + skill * (1 - guess) for metric, guess in trivial.items()}


def _history(rng: np.random.Generator, skills: Mapping[str, float], epochs: int) -> list[dict[str, float]]:
    pairs = [(a, b) for i, a in enumerate(skills) for b in list(skills)[i + 1 :]]
    rows = []
    for epoch in range(epochs):
        grown = 1 - np.exp(-3 * (epoch + 1) / epochs)
        row: dict[str, float] = {"epoch": epoch, "lr": 0.003 * (1 - epoch / epochs)}
        weights = {task: float(np.exp(rng.normal(0, 0.1) + k * grown)) for k, task in enumerate(skills)}
        for task, skill in skills.items():
            metrics = _metrics(task, float(skill * grown + rng.normal(0, 0.02)))
            row |= {f"train/loss/{task}": float(1 - 0.7 * grown), f"val/loss/{task}": float(1.1 - 0.7 * grown)}
            row |= {f"val/{task}/{metric}": float(value) for metric, value in metrics.items()}
            row |= {f"weight/{task}": weights[task], f"share/{task}": weights[task] / sum(weights.values())}
        row |= {"weight/sum": sum(weights.values()), "grad_norm": float(rng.gamma(4))}
        row["val/score"] = float(np.mean(list(skills.values())) * grown + rng.normal(0, 0.01))
        for a, b in pairs:
            row |= {f"conflict/cos/{a}/{b}": float(np.tanh(rng.normal(0.1, 0.2)))}
            row |= {f"conflict/share/{a}/{b}": float(rng.random()), f"conflict/gms/{a}/{b}": float(rng.random())}
        rows.append(row)
    return rows


def _predictions(rng: np.random.Generator, names: Sequence[str], tasks: Sequence[str]) -> pd.DataFrame:
    """Truth from the names, and predictions that are mostly right."""
    columns: dict[str, Any] = {"id": list(names), "cluster": list(names)}
    for task in tasks:
        place = list(TASKS).index(task)
        truth = np.array([int(name.rpartition("/")[2].split("_")[place]) for name in names])
        columns[f"{task}/true"] = truth
        if TASKS[task]["kind"] == "regression":
            columns[f"{task}/pred"] = np.round(np.clip(truth + rng.normal(0, 10, len(truth)), 1, 116), 2)
            continue
        noise = (
            rng.random((len(truth), len(TASKS[task]["classes"])))
            + 0.5 * np.eye(5)[truth][:, : len(TASKS[task]["classes"])]
        )
        shares = np.round(noise / noise.sum(1, keepdims=True), 6)
        columns[f"{task}/pred"] = shares.argmax(1)
        columns |= {f"{task}/p{c}": shares[:, c] for c in range(shares.shape[1])}
    return pd.DataFrame(columns)
