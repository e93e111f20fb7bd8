"""What a run leaves behind: W&B's copy equals the files, and no secret and no place of the machine is in any file."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers_run import Run
from helpers_wandb import Content, finished, run_file

from mtl.identity import flatten

ROOT = Path(__file__).parents[2]
SMALL = ["data.draw.num=120", "backbone=mobilenet", "train.batch_size=16", "train.threads=1", "train.device=cpu"]


def start(folder: Path, *overrides: str, **environment: str) -> Run:
    return Run([*overrides, *SMALL], folder, environment)


def finish(process: Run) -> tuple[str, str]:
    return process.communicate(timeout=120)


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def logged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What W&B gets of history rows: what is defined, at the epoch's step."""
    return [{"step": row["epoch"]} | {key: value for key, value in row.items() if value is not None} for row in rows]


def test_wandb_holds_what_the_files_hold(tmp_path, cache):
    """Live while the run trains; and after an interruption one run, whole, record by record."""
    command = ["weighting=uncertainty", "train.epochs=8", f"data.cache={cache}", "data.missing_rate=0.2"]
    process = start(tmp_path, *command)
    wait_for(lambda: list(tmp_path.glob("runs/default/*/wandb/*/*.wandb")))
    (run,) = tmp_path.glob("runs/default/*")
    wait_for(lambda: (run / "last.pt").exists())
    # The first rows can be read while the run goes on.
    wait_for(lambda: Content(run_file(run)).rows or process.poll() is not None)
    assert process.poll() is None
    rows = Content(run_file(run)).rows
    assert rows == logged(history(run))[: len(rows)]
    process.send_signal(signal.SIGTERM)
    finish(process)
    assert process.returncode == 130
    first = run_file(run)
    assert finished(run).exit_code == 1

    process = start(tmp_path, *command)
    _, errors = finish(process)
    assert (process.returncode, errors) == (0, "")
    assert run_file(run) != first, "the interrupted copy has gone"
    content = finished(run)
    assert content.exit_code == 0
    assert content.rows == logged(history(run))
    assert len(content.rows) == 8
    assert content.config == yaml.safe_load((run / "config.yaml").read_text())
    assert (content.run.run_group, content.run.job_type) == ("default", "uncertainty")
    assert content.run.display_name == run.name
    metrics = json.loads((run / "metrics.json").read_text())
    cost = json.loads((run / "cost.json").read_text())
    expected = {f"test/{key.replace('.', '/')}": value for key, value in flatten(metrics["test"]).items()}
    expected |= {f"cost/{key}": value for key, value in cost.items()} | {"selected_epoch": metrics["selected_epoch"]}
    assert {key: value for key, value in content.summary.items() if key in expected} == expected
    scores = [row["val/score"] for row in history(run)]
    assert content.summary["val/score"] == {"max": max(scores)}


SECRETS = {
    "WANDB_API_KEY": "5ecret0" * 6,
    "AWS_SECRET_ACCESS_KEY": "hidden-value",
    "HF_TOKEN": "hf_planted",
    "SOME_TOKEN": "t0ken-in-the-environment",
}


def leaks(folder: Path, words: list[str]) -> list[tuple[str, str]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    found = []
    for path in files:
        content = str(path.relative_to(folder)).encode() + b"\n" + path.read_bytes()
        found += [(path.name, word) for word in words if word.encode() in content]
    return found


@pytest.mark.parametrize("end", ["done", "failed", "killed", "interrupted"])
def test_no_secret_and_no_place_of_the_machine_is_written(tmp_path, end):
    """Of a study, a failing run (with its traceback), and runs that end early; the packed pictures included."""
    home, work = tmp_path / "h0me-of-somebody", tmp_path / "w0rk"
    home.mkdir()
    work.mkdir()
    (home / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {'n3trc' * 8}\n")
    words = {
        "done": ["-m", "weighting=sum,dwa", "train.epochs=1"],
        "failed": ["optimizer=sgd", "optimizer.lr=1e6", "age_target=raw", "age_target.loss=mse"],
    }.get(end, ["weighting=pcgrad", "train.epochs=50"])
    process = start(work, *words, "data.cache=cache", **SECRETS, HOME=str(home), USER="s0mebody", LOGNAME="s0mebody")
    if end in ("killed", "interrupted"):
        wait_for(lambda: list(work.glob("runs/default/*/last.pt")))
        process.send_signal(signal.SIGKILL if end == "killed" else signal.SIGTERM)
    _, errors = finish(process)
    assert process.returncode == {"done": 0, "failed": 1, "killed": -9, "interrupted": 130}[end], errors
    (status,) = {json.loads(path.read_text())["status"] for path in work.glob("runs/default/*/status.json")}
    assert status == ("running" if end == "killed" else end)
    places = [str(tmp_path), str(ROOT), sys.prefix, sys.base_prefix, "s0mebody", "w0rk"]
    if end == "killed":  # W&B's own logs, which name its folder, are removed when its run is closed
        for log in work.rglob("*.log"):
            log.unlink()
    assert leaks(work, [*SECRETS.values(), "n3trc", home.name, *places]) == []
