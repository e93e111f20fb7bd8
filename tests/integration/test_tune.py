"""`python -m mtl.tune` as a user starts it: real trainings, killed and started again, alone and beside another."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from helpers_run import Run

from mtl.rundir import RunDir

SMALL = ["data.draw.num=120", "data.draw.size=32", "data.image_size=16", "backbone=mobilenet", "train.batch_size=16"]
SMALL += ["train.epochs=2", "train.threads=1", "train.device=cpu", "logger=none"]
COMMAND = ["weighting=sum,dwa", "study=tuned", "--trials", "2"]


def start(folder: Path, cache: Path, *words: str) -> Run:
    small = [] if "--confirm" in words else [f"data.cache={cache}", *SMALL]
    return Run([*words, *small], folder, module="mtl.tune")


def finish(process: Run) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=240)
    assert "Traceback" not in errors, errors
    return process.returncode, output, errors


def ledger(folder: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def wait_for(condition) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children_of(process: Run) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def training(study: Path) -> set[int]:
    """The processes that have begun a run."""
    states = [RunDir(path.parent).status() for path in study.glob("*/status.json")]
    return {state["pid"] for state in states if state.get("status") == "running"}


@pytest.fixture(scope="module")
def searched(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("searched")
    return folder, *finish(start(folder, cache, *COMMAND))


def test_a_search_leaves_its_ledger_winners_and_table(searched):
    folder, code, output, errors = searched
    assert (code, errors) == (0, "")
    assert "accuracy" not in output, "no test result is shown"
    assert "MAE" not in output
    study = folder / "runs" / "tuned"
    rows = ledger(study)
    assert [(row["weighting"], row["number"], row["state"]) for row in rows] == [
        ("dwa", "0", "done"),
        ("dwa", "1", "done"),
        ("sum", "0", "done"),
        ("sum", "1", "done"),
    ]
    winners = yaml.safe_load((study / "winners.yaml").read_text())
    for row in rows:
        run = study / row["run"]
        assert float(row["val/score"]) == json.loads((run / "metrics.json").read_text())["val"]["score"]
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert float(row["optimizer.lr"]) == config["optimizer"]["lr"]
        assert row["weighting"] == config["names"]["weighting"]
        assert not list(run.glob("*.pt")), "a checkpoint of each trial would fill the disk"
    for name in ("sum", "dwa"):
        scores = [float(row["val/score"]) for row in rows if row["weighting"] == name]
        assert winners[name]["val/score"] == max(scores)
        assert winners[name]["trial"] == scores.index(max(scores))
        assert f"{max(scores):.4f}" in output
    assert len(list(study.glob("*/status.json"))) == 4


def test_the_same_command_again_trains_nothing(searched, cache):
    folder = searched[0]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("status.json")}
    rows = ledger(folder / "runs" / "tuned")
    code, output, _ = finish(start(folder, cache, *COMMAND))
    assert code == 0
    assert "epoch" not in output
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("status.json")} == before
    assert ledger(folder / "runs" / "tuned") == rows


def test_winners_are_confirmed_on_fresh_seeds(searched, cache):
    folder = searched[0]
    command = ["runs/tuned", "--confirm", "1,2"]
    code, output, errors = finish(start(folder, cache, *command))
    assert (code, errors) == (0, "")
    confirmed = folder / "runs" / "tuned-confirmed"
    winners = yaml.safe_load((folder / "runs" / "tuned" / "winners.yaml").read_text())
    configs = [yaml.safe_load(path.read_text()) for path in confirmed.glob("*/config.yaml")]
    assert Counter((config["names"]["weighting"], config["seed"]) for config in configs) == Counter(
        [("sum", 1), ("sum", 2), ("dwa", 1), ("dwa", 2)]
    )
    for config in configs:
        assert f"optimizer.lr={config['optimizer']['lr']}" in winners[config["names"]["weighting"]]["overrides"]
        assert config["train"]["keep"] == "best"
    assert "synthetic" in (confirmed / "table.md").read_text()
    assert "Study runs/tuned-confirmed" in output
    code, output, _ = finish(start(folder, cache, *command))
    assert code == 0
    assert output.count("done before, skipped") == 4


def test_killed_at_any_moment_the_same_command_completes_what_is_missing(searched, tmp_path, cache):
    """By SIGKILL, from which nothing can be cleaned up: the ledger ends as that of the search that was left alone."""
    study = tmp_path / "runs" / "tuned"
    for moment in ("*/rejected.csv", "*/metrics.json"):
        process = start(tmp_path, cache, *COMMAND)
        wait_for(lambda moment=moment, process=process: list(study.glob(moment)) or process.poll() is not None)
        process.kill()
        process.communicate()
        # A child whose parent has died saves and stops; what it has claimed is free then.
        wait_for(lambda: all(RunDir(path.parent).state()[0] != "running" for path in study.glob("*/status.json")))
    code, _, errors = finish(start(tmp_path, cache, *COMMAND))
    assert (code, errors) == (0, "")
    assert ledger(study) == ledger(searched[0] / "runs" / "tuned")
    assert len(list(study.glob("*/status.json"))) == 4


def test_two_processes_share_a_search_and_an_interrupted_one_says_how_to_go_on(searched, tmp_path, cache):
    processes = [start(tmp_path, cache, *COMMAND) for _ in range(2)]
    study = tmp_path / "runs" / "tuned"
    wait_for(lambda: training(study) & set(children_of(processes[0])))
    processes[0].send_signal(signal.SIGTERM)
    code, _, errors = finish(processes[0])
    assert code == 130
    assert "the same command again goes on" in errors
    finish(processes[1])
    code, _, errors = finish(start(tmp_path, cache, *COMMAND))
    assert (code, errors) == (0, "")
    ours, theirs = ledger(study), ledger(searched[0] / "runs" / "tuned")
    assert [row["state"] for row in ours] == ["done"] * 4
    assert sorted(row["run"] for row in ours) == sorted(row["run"] for row in theirs)
    assert len(list(study.glob("*/status.json"))) == 4


def test_a_trial_whose_process_is_killed_is_tried_again_next_time(tmp_path, cache):
    command = ["weighting=sum", "study=tuned", "--trials", "2"]
    study = tmp_path / "runs" / "tuned"
    process = start(tmp_path, cache, *command)
    wait_for(lambda: training(study) & set(children_of(process)))
    os.kill(children_of(process)[0], signal.SIGKILL)
    code, output, _ = finish(process)
    assert code == 1
    rows = ledger(study)
    assert sorted(row["state"] for row in rows) == ["done", "failed"]
    assert "SIGKILL" in "".join(row["reason"] for row in rows)
    assert "SIGKILL" in output
    code, output, _ = finish(start(tmp_path, cache, *command))
    assert code == 0
    assert [row["state"] for row in ledger(study)] == ["done", "done"]
    assert [row["run"] for row in ledger(study)] == [row["run"] for row in rows], "it went on in its own folder"


def test_a_learning_rate_that_diverges_counts_and_is_never_chosen(tmp_path, cache):
    diverging = ["optimizer=sgd", "optimizer.lr=1e5", "age_target=raw", "age_target.loss=mse"]
    code, _, errors = finish(start(tmp_path, cache, "weighting=sum", "study=tuned", "--trials", "2", *diverging))
    assert code == 0
    assert errors.count("not finite") == 2
    rows = ledger(tmp_path / "runs" / "tuned")
    assert [row["state"] for row in rows] == ["diverged", "diverged"]
    assert "FloatingPointError" in rows[0]["reason"]
    code, _, errors = finish(start(tmp_path, cache, "runs/tuned", "--confirm", "1"))
    assert code == 2
    assert errors.startswith("runs/tuned: no trial is done yet")
    assert errors.count("\n") == 1
