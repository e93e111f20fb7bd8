"""run.py as a user starts it: real processes, real files, real signals."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers_run import Run

ROOT = Path(__file__).parents[2]
SMALL = [
    "data.draw.num=120",
    "backbone=mobilenet",
    "train.batch_size=16",
    "train.threads=1",
    "train.device=cpu",
]


@pytest.fixture
def start(tmp_path, cache):
    """Starts `python run.py ...` in its own folder."""
    started: list[Run] = []

    def call(*overrides: str) -> Run:
        process = Run([*overrides, f"data.cache={cache}", *SMALL], tmp_path)
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.wait()


def finish(process: Run) -> tuple[str, str]:
    return process.communicate(timeout=120)


def comparable(run: Path) -> dict[str, bytes]:
    names = ("history.jsonl", "metrics.json", "predictions.csv", "config.yaml", "rejected.csv", "best.pt")
    return {name: (run / name).read_bytes() for name in names}


def only(folder: Path) -> Path:
    (run,) = (path for path in folder.iterdir() if path.is_dir())
    return run


def test_a_run_leaves_its_records_and_two_equal_runs_are_equal(start, tmp_path):
    runs = []
    for name in ("first", "second"):
        process = start("weighting=uncertainty", "train.epochs=2", f"runs_dir={name}")
        output, errors = finish(process)
        assert process.returncode == 0, errors
        assert errors == ""
        assert "test at epoch" in output
        runs.append(only(tmp_path / name / "default"))
    first, second = runs
    assert first.name == second.name
    config_differs = {"config.yaml"}  # runs_dir stands in it
    for name in comparable(first).keys() - config_differs:
        assert comparable(first)[name] == comparable(second)[name], name

    status = json.loads((first / "status.json").read_text())
    assert status["status"] == "done"
    assert not (first / "last.pt").exists()
    assert list(first.glob("wandb/offline-run-*/*.wandb"))
    rows = [json.loads(line) for line in (first / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [0, 1]
    for key in (
        "lr",
        "train/loss/age",
        "val/sick/accuracy",
        "val/score",
        "weight/age",
        "share/species",
        "weight/sum",
    ):
        assert isinstance(rows[0][key], float), key
    metrics = json.loads((first / "metrics.json").read_text())
    assert metrics["val"]["score"] == max(row["val/score"] for row in rows)
    assert rows[metrics["selected_epoch"]]["val/score"] == metrics["val"]["score"]
    with (first / "predictions.csv").open() as file:
        predictions = list(csv.DictReader(file))
    mean_error = sum(abs(float(p["age/true"]) - float(p["age/pred"])) for p in predictions) / len(predictions)
    assert mean_error == pytest.approx(metrics["test"]["age"]["mae_years"], rel=1e-4)
    hits = sum(p["species/true"] == p["species/pred"] for p in predictions) / len(predictions)
    assert hits == pytest.approx(metrics["test"]["species"]["accuracy"])
    assert all(p["cluster"] and p["cluster"] <= Path(p["id"]).name for p in predictions)
    assert not [path for path in first.rglob(".*") if path.is_file()], "temporary files are left"


def test_a_study_is_tabled_and_its_finished_runs_are_skipped(start, tmp_path):
    command = ["-m", "weighting=sum,dwa", "seed=0,1", "train.epochs=1", "logger=none"]
    process = start(*command)
    output, errors = finish(process)
    assert process.returncode == 0, errors
    runs = sorted((tmp_path / "runs" / "default").glob("*-s?"))
    assert len(runs) == 4
    table = (tmp_path / "runs" / "default" / "table.md").read_text()
    for weighting in ("sum", "dwa"):
        assert weighting in output
        assert weighting in table
    assert "synthetic" in table
    assert (tmp_path / "runs" / "default" / "table.csv").is_file()

    before = {path: (path / "status.json").stat().st_mtime_ns for path in runs}
    # One seed more; and a rate for parameters that neither method has makes no other run.
    process = start(*[word.replace("seed=0,1", "seed=0,1,2") for word in command], "control.lr=0.1")
    output, errors = finish(process)
    assert process.returncode == 0, errors
    assert output.count("done before, skipped") == 4
    assert {path: (path / "status.json").stat().st_mtime_ns for path in runs} == before
    assert len(list((tmp_path / "runs" / "default").glob("*-s2"))) == 2


def test_a_failing_job_is_recorded_and_the_others_go_on(start, tmp_path):
    process = start("-m", "weighting=dwa", "weighting.method.temperature=choice(-1,2)", "train.epochs=1", "logger=none")
    output, errors = finish(process)
    assert process.returncode == 1
    assert "Traceback" not in output + errors
    statuses = [json.loads(path.read_text()) for path in (tmp_path / "runs" / "default").glob("*/status.json")]
    assert sorted(status["status"] for status in statuses) == ["done", "failed"]
    assert len(list((tmp_path / "runs" / "default").glob("*/config.yaml"))) == 2, "a failed run says what it was"
    (failed,) = (status for status in statuses if status["status"] == "failed")
    assert "temperature=-1" in failed["error"]
    assert "temperature=-1" in output + errors


def test_a_failing_run_says_where_and_is_repeated(start, tmp_path):
    blow_up = ["optimizer=sgd", "optimizer.lr=1e6", "age_target=raw", "age_target.loss=mse", "logger=none"]
    process = start(*blow_up)
    _, errors = finish(process)
    assert process.returncode == 1
    assert "not finite" in errors
    status = json.loads(next(tmp_path.rglob("status.json")).read_text())
    assert status["status"] == "failed"
    assert "FloatingPointError" in status["traceback"]
    assert not list(tmp_path.rglob("best.pt"))


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_same_results(run: Path, other: Path) -> None:
    for name in ("history.jsonl", "metrics.json", "predictions.csv", "best.pt"):
        assert (run / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_goes_on_where_it_was(start, tmp_path, signal_number):
    command = ["weighting=dwa", "train.epochs=6", "logger=none"]
    finish(start(*command, "runs_dir=undisturbed"))
    process = start(*command)
    wait_for(lambda: list(tmp_path.glob("runs/default/*/last.pt")))
    process.send_signal(signal_number)
    output, errors = finish(process)
    run = only(tmp_path / "runs" / "default")
    if signal_number != signal.SIGKILL:
        assert process.returncode == 130, errors
        assert "Traceback" not in output + errors
        assert "finishing the step, then saving" in errors
        assert "the same command again goes on" in errors
        assert json.loads((run / "status.json").read_text())["status"] == "interrupted"
    output, _ = finish(start(*command))
    assert "1/6" not in output, "the first epoch was trained again"
    assert_same_results(run, only(tmp_path / "undisturbed" / "default"))
    assert not list(run.glob("*last*")), "what is needed to go on is gone when the run is done"


def test_stopped_in_the_midst_of_an_epoch(start, tmp_path):
    """The step is finished and saved: nothing of a long epoch is lost."""
    command = ["weighting=pcgrad", "train.epochs=2", "train.batch_size=2", "logger=none"]
    finish(start(*command, "runs_dir=undisturbed"))
    process = start(*command)
    wait_for(lambda: list(tmp_path.glob("runs/default/*/rejected.csv")))
    time.sleep(0.5)  # a second or so of training an epoch, 42 steps
    process.send_signal(signal.SIGTERM)
    _, errors = finish(process)
    run = only(tmp_path / "runs" / "default")
    assert process.returncode == 130, errors
    progress = torch.load(run / "last.pt", weights_only=True)
    assert progress["sums"]["steps"] > 0
    finish(start(*command))
    assert_same_results(run, only(tmp_path / "undisturbed" / "default"))


def test_a_damaged_checkpoint_is_said_and_costs_no_more_than_an_epoch(start, tmp_path):
    command = ["weighting=uncertainty", "train.epochs=12", "logger=none"]
    finish(start(*command, "runs_dir=undisturbed"))
    process = start(*command)
    wait_for(lambda: list(tmp_path.glob("runs/default/*/last.pt")))
    run = only(tmp_path / "runs" / "default")
    # While a checkpoint is written, both names mean the one before; then they are two files.
    wait_for(lambda: (run / "previous.pt").exists() and not (run / "previous.pt").samefile(run / "last.pt"))
    process.kill()
    finish(process)
    if (run / "previous.pt").samefile(run / "last.pt"):  # the kill fell into the next writing
        content = (run / "previous.pt").read_bytes()
        (run / "last.pt").unlink()
        (run / "last.pt").write_bytes(content)
    with (run / "last.pt").open("r+b") as file:
        file.truncate(100_000)
    output, errors = finish(start(*command))
    assert "last.pt cannot be used" in errors
    assert "going on from previous.pt" in errors
    assert "going on from previous.pt" in json.loads((run / "status.json").read_text())["note"]
    assert " 1/12" not in output
    assert_same_results(run, only(tmp_path / "undisturbed" / "default"))


def test_composed_controlled_and_replayed_runs_have_rows_of_their_own(start, tmp_path):
    """Scaled by another weighting, normalised, and a replay: each is named, recorded, and a row of the table."""
    small = ["train.epochs=2", "logger=none"]
    finish(start("weighting=uncertainty", *small))
    source = only(tmp_path / "runs" / "default")
    for words in (
        ["weighting=pcgrad", "weighting@prescale=uncertainty"],
        ["weighting=uncertainty", "control.normalize=sum_to_K", "control.heads=raw"],
        ["weighting=constant", f"weighting.from_run={source}"],
    ):
        process = start(*words, *small)
        _, errors = finish(process)
        assert (process.returncode, errors) == (0, ""), words
    runs = {path.name.split("-")[0]: path for path in (tmp_path / "runs" / "default").glob("*-s0")}
    assert {"uncertainty+pcgrad", "uncertainty", "replay_uncertainty"} == set(runs)
    weights = [json.loads(line) for line in (source / "history.jsonl").read_text().splitlines()]
    mean = sum(row["weight/age"] for row in weights) / 2
    replayed = [json.loads(line) for line in (runs["replay_uncertainty"] / "history.jsonl").read_text().splitlines()]
    assert [row["weight/age"] for row in replayed] == pytest.approx([mean, mean], rel=1e-5)
    sums = [json.loads(path.read_text().splitlines()[0])["weight/sum"] for path in tmp_path.rglob("history.jsonl")]
    assert sum(value == pytest.approx(3, rel=1e-5) for value in sums) == 1
    report = subprocess.run(
        [sys.executable, "-m", "mtl.report", "runs/default"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert report.returncode == 0, report.stderr
    table = (tmp_path / "runs" / "default" / "table.md").read_text()
    for words in ("uncertainty+pcgrad", "replay_uncertainty", "sum_to_K"):
        assert words in table, table


def test_a_check_trains_and_writes_nothing(start, tmp_path):
    process = start("mode=check", "weighting=pcgrad")
    output, errors = finish(process)
    assert (process.returncode, errors) == (0, "")
    assert "2 steps of 16 pictures at " in output
    assert "nothing was written" in output
    assert not list(tmp_path.iterdir())


def test_a_check_of_a_study_names_what_fails(start, tmp_path):
    """Every job is tried; the one that cannot work is named and makes the exit code."""
    process = start("-m", "mode=check", "weighting=dwa", "weighting.method.temperature=choice(-1,2)", "seed=0,1")
    output, errors = finish(process)
    assert process.returncode == 1
    assert output.count("nothing was written") == 2
    assert errors.count("fails: weighting.method.temperature=-1: expected a number above 0.") == 2
    assert "2 of 4 jobs failed" in errors
    assert not list(tmp_path.iterdir())


def test_a_check_finds_what_is_not_finite(start, tmp_path):
    process = start("mode=check", "optimizer=sgd", "optimizer.lr=1e6", "age_target=raw", "age_target.loss=mse")
    _, errors = finish(process)
    assert process.returncode == 1
    assert "not finite in epoch 0, step 1" in errors
    assert "Traceback" not in errors


def test_a_mistake_leaves_no_folder(start, tmp_path):
    for command in (["train.epochs=0"], ["-m", "weighting=sum,dwa", "train.epochs=0"], ["data.root=nowhere"]):
        process = start(*command)
        finish(process)
        assert process.returncode == 2
        assert not list(tmp_path.iterdir()), command


def test_single_task_rows_stand_beside_the_others_in_a_sweep(start, tmp_path):
    process = start("sweep=small", "seed=0", "train.epochs=1", "logger=none")
    _, errors = finish(process)
    assert process.returncode == 0, errors
    configs = [path.name for path in (tmp_path / "runs" / "small").iterdir() if path.is_dir()]
    assert len(configs) == 7  # sum, uncertainty, dwa, rlw, and three single-task runs
    table = (tmp_path / "runs" / "small" / "table.csv").read_text()
    assert "species" in table
