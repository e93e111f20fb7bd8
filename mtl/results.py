"""What a run leaves when it is done: metrics.json, predictions.csv, cost.json."""

from __future__ import annotations

import csv
import io
import resource
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mtl.build import Loaders, Parts
from mtl.checkpoint import load
from mtl.data.pack import Pack
from mtl.evaluate import Evaluation, Metrics, evaluate, trivial
from mtl.metrics import score
from mtl.rundir import RunDir
from mtl.train import TrainedEpoch


def validation_row(evaluation: Evaluation, guesses: Metrics) -> dict[str, float | None]:
    """The validation part of a history row, its selection score included."""
    row = {f"val/loss/{name}": loss for name, loss in evaluation.losses.items()}
    row |= {f"val/{name}/{key}": value for name, values in evaluation.metrics.items() for key, value in values.items()}
    return row | {"val/score": score(evaluation.metrics, guesses)}


def timing_row(done: TrainedEpoch, batch_size: int, device: torch.device) -> dict[str, float]:
    """Time and peak memory of an epoch; the memory is the process's, or the GPU's allocations."""
    on_gpu = device.type == "cuda"
    peak = (
        torch.cuda.max_memory_allocated(device) if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return {
        "epoch": done.epoch,
        "seconds": done.seconds,
        "step_ms": 1000 * done.seconds / done.num_steps,
        "images_per_s": done.num_steps * batch_size / done.seconds,
        "peak_mib": peak / 2**20,
    }


def test_once(
    config: Mapping[str, Any], parts: Parts, data: Pack, loaders: Loaders, directory: RunDir
) -> dict[str, Any]:
    """Test the network of the best validation epoch; write metrics.json and predictions.csv; the metrics."""
    best = load(directory.path / "best.pt")
    parts.model.load_state_dict(best["model"])
    evaluation = evaluate(parts.model, parts.tasks, loaders.test, parts.device, config["train"]["amp"])
    selected = next(row for row in directory.rows("history.jsonl") if row["epoch"] == best["epoch"])
    train_labels = loaders.labels[loaders.train.indices]
    guesses = trivial(parts.tasks, train_labels, loaders.labels[loaders.test.indices])
    validation = {
        name: {key: selected[f"val/{name}/{key}"] for key in values} for name, values in evaluation.metrics.items()
    }
    metrics = {
        "selected_epoch": best["epoch"],
        "val": validation | {"score": best["score"]},
        "test": evaluation.metrics | {"score": score(evaluation.metrics, guesses)},
        "trivial": guesses,
    }
    directory.write_json("metrics.json", metrics)
    directory.write("predictions.csv", _predictions(parts, evaluation, data, loaders))
    return metrics


def _predictions(parts: Parts, evaluation: Evaluation, data: Pack, loaders: Loaders) -> str:
    """One row per test picture: id, per task the truth, the prediction and the class probabilities, its cluster.

    Pictures of one `cluster` are near-duplicates, hence no independent evidence; its name decides the split.
    """
    indices = evaluation.indices.tolist()
    header, columns = ["id"], [[data.names[i] for i in indices]]
    for k, task in enumerate(parts.tasks):
        truth = ["" if value != value else f"{value:g}" for value in loaders.labels[evaluation.indices, k].tolist()]
        header += [f"{task.name}/true", f"{task.name}/pred"]
        columns += [truth, [f"{value:.6g}" for value in evaluation.predictions[k].tolist()]]
        for c, probabilities in enumerate(evaluation.probabilities[k].T.tolist()):
            header.append(f"{task.name}/p{c}")
            columns.append([f"{value:.6g}" for value in probabilities])
    header.append("cluster")
    columns.append([data.split_names[i] for i in indices])
    return csv_text([header, *zip(*columns, strict=True)])


def write_cost(directory: RunDir, parts: Parts, seconds: float) -> dict[str, float]:
    """Write cost.json: `seconds` of this process, and sums or medians over the epochs of all; the same."""
    rows = directory.rows("timing.jsonl")
    cost = {
        "total_s": seconds,
        "train_s": sum(row["seconds"] for row in rows),
        "step_ms": statistics.median(row["step_ms"] for row in rows),
        "images_per_s": statistics.median(row["images_per_s"] for row in rows),
        "peak_mib": max(row["peak_mib"] for row in rows),
        "parameters": sum(p.numel() for p in parts.model.parameters()),
    }
    directory.write_json("cost.json", cost)
    return cost


def score_in_words(metrics: Mapping[str, Any]) -> str:
    """The validation score, for whoever should not see the test result."""
    score = metrics["val"]["score"]
    return f"val/score {'none' if score is None else f'{score:.4f}'} at epoch {metrics['selected_epoch']}"


def in_words(metrics: Mapping[str, Any]) -> str:
    """The test result in words, the first metric of each task."""
    words = []
    for name, values in metrics["test"].items():
        if name != "score" and None not in values.values():
            age = "mae_years" in values
            words.append(f"{name} MAE {values['mae_years']:.2f} years" if age else f"{name} {values['accuracy']:.1%}")
    return f"test at epoch {metrics['selected_epoch']}: {', '.join(words)}"


def csv_text(rows: Sequence[Sequence[object]]) -> str:
    """`rows` as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
