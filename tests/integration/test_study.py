"""Studies through run.py: planned, run by several processes, interrupted, completed, listed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from helpers_run import Run
from helpers_wandb import finished

from mtl.config import CONF
from mtl.rundir import RunDir

ROOT = CONF.parent
TINY = (
    "data.draw.num=120",
    "data.draw.size=32",
    "data.image_size=16",
    "data.workers=1",
    "backbone=mobilenet",
    "head.hidden=8",
    "train.batch_size=16",
    "train.epochs=2",
    "train.threads=1",
    "logger=none",
)
FILES = ("config.yaml", "history.jsonl", "metrics.json", "predictions.csv", "rejected.csv", "best.pt")
DONE = re.compile(r"(?m)^(?:\[\S+\] )?(\S+): test at epoch")


@pytest.fixture(scope="module")
def place(tmp_path_factory, cache):
    """A working directory, where `runs/` will be."""
    return tmp_path_factory.mktemp("place"), cache


def start(place, *words):
    folder, cache = place
    return Run(["-m", f"data.cache={cache}", *TINY, *words], folder, merged=True)


def run(place, *words, code=0):
    with start(place, *words) as process:
        output = process.communicate(timeout=240)[0]
    assert process.returncode == code, output
    return output


def study(place, name, *options):
    command = [sys.executable, "-m", "mtl.study", f"runs/{name}", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=place[0], env=environment, capture_output=True, text=True)


def contents(place, name):
    """run -> file -> bytes, without what says which study it is."""
    folder = place[0] / "runs" / name
    return {
        path.name: {file: (path / file).read_bytes().replace(f"study: {name}\n".encode(), b"") for file in FILES}
        for path in sorted(folder.iterdir())
        if (path / "status.json").exists()
    }


@pytest.fixture(scope="module")
def alone(place):
    """Four runs, one after the other, that nobody disturbs; what was printed."""
    return run(place, "study=alone", "weighting=sum,dwa", "seed=0,1")


def test_a_dry_run_says_runs_hours_and_disk_and_writes_nothing(place):
    output = run(place, "study=dry", "weighting=sum,dwa", "seed=0,1,2", "mode=plan", "hydra.launcher.n_jobs=2")
    assert "runs/dry: 6 runs: 6 to train" in output.splitlines()
    assert re.search(r"(?m)^  sum-mobilenet-[0-9a-f]{8}: 3 runs of about \d+\.\d minutes$", output)
    assert re.search(
        r"(?m)^6 runs to train, 2 at a time: about \d+\.\d minutes; \d+ MiB of disk in the end, "
        r"up to \d+ MiB more on the way\. Nothing was written\.$",
        output,
    )
    assert not (place[0] / "runs" / "dry").exists()


def test_a_dry_run_starts_no_job_whichever_launcher_was_chosen(place):
    """One that submits to a cluster would submit; Hydra's own would train two steps of each job once more."""
    output = run(place, "study=dry", "weighting=sum,dwa", "mode=plan", "hydra/launcher=basic")
    assert output.splitlines()[-1].endswith("Nothing was written.")
    assert not (place[0] / "runs" / "dry").exists()


def test_a_finished_study_says_so(place, alone):
    assert "runs/alone: 4 runs: 4 to train" in alone.splitlines()
    assert len(DONE.findall(alone)) == 4
    shown = study(place, "alone")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "runs/alone: 4 runs: 4 done\n", "")


def test_two_at_a_time_are_equal_to_one_after_the_other(place, alone):
    output = run(place, "study=two", "weighting=sum,dwa", "seed=0,1", "hydra.launcher.n_jobs=2")
    assert len(DONE.findall(output)) == 4
    assert contents(place, "two") == contents(place, "alone")
    for path in (place[0] / "runs" / "two").glob("*/env.json"):
        waiting = json.loads(path.read_text())["openmp"]
        assert waiting == {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}, "idle threads hold up the other job"


def test_jobs_at_a_time_have_a_whole_wandb_run_each(place):
    """Forked from one that has imported wandb: each starts a service of its own."""
    run(place, "study=copied", "weighting=sum,dwa", "logger=wandb", "hydra.launcher.n_jobs=2")
    folders = [path.parent for path in (place[0] / "runs" / "copied").glob("*/status.json")]
    assert {RunDir(folder).status()["wandb"] for folder in folders} == {"offline"}
    for folder in folders:
        copy = finished(folder)
        assert (copy.exit_code, copy.run.display_name) == (0, folder.name)
        scores = [row["val/score"] for row in RunDir(folder).rows("history.jsonl")]
        assert [row["val/score"] for row in copy.rows] == scores


def test_two_commands_on_one_study_train_no_run_twice(place, alone):
    words = ("study=both", "weighting=sum,dwa", "seed=0,1")
    with start(place, *words) as first, start(place, *words, "hydra.launcher.n_jobs=2") as second:
        outputs = [process.communicate(timeout=240)[0] for process in (first, second)]
    trained = [name for output in outputs for name in DONE.findall(output)]
    assert len(trained) == len(set(trained)) == 4, outputs
    assert contents(place, "both") == contents(place, "alone")


def test_ctrl_c_and_a_kill_then_the_command_that_completes_it(place, alone):
    """The worker in the midst of a run is killed, the rest goes on; then Ctrl-C; then what mtl.study prints."""
    words = ("study=broken", "weighting=sum,dwa", "seed=0,1", "hydra.launcher.n_jobs=2")
    with start(place, *words) as process:
        folder = place[0] / "runs" / "broken"
        deadline = time.monotonic() + 120
        while not (running := [RunDir(path.parent) for path in folder.glob("*/last.pt")]):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        victim = running[0]
        os.kill(victim.status()["pid"], signal.SIGKILL)
        output = process.communicate(timeout=240)[0]
    assert process.returncode == 1, output
    assert "killed by SIGKILL, perhaps for want of memory; the same command goes on with it" in output
    assert "1 of 4 jobs failed:" in output
    assert len(DONE.findall(output)) == 3
    shown = study(place, "broken")
    assert shown.returncode == 1
    lines = shown.stdout.splitlines()
    assert lines[0] == "runs/broken: 4 runs: 3 done, 1 interrupted"
    assert lines[1].split()[:2] == ["interrupted", victim.path.name]
    assert lines[2] == "To complete it:"
    with start(place, "study=broken", "weighting=sum,dwa,mgda", "seed=0,1") as process:
        while not list(folder.glob("mgda*-s0/status.json")) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=240)[0]
    assert process.returncode == 130, output
    assert output.count("interrupted: the same command again goes on from here.") == 1
    shown = study(place, "broken")
    states = [json.loads(line)["state"] for line in study(place, "broken", "--json").stdout.splitlines()]
    assert sorted(states) == ["done"] * 4 + ["interrupted"] + ["missing"]
    command = shown.stdout.splitlines()[-1].strip()
    assert "weighting=sum,dwa,mgda" in command
    assert shown.stdout.count("run.py") == 1, "one command completes all of it"
    python, program, *words = shlex.split(command)
    assert (python, program) == ("python", "run.py")
    with Run(words, place[0], merged=True) as finished:
        output = finished.communicate(timeout=240)[0]
    assert finished.returncode == 0, output
    assert study(place, "broken").stdout == "runs/broken: 6 runs: 6 done\n"
    ours, theirs = contents(place, "broken"), contents(place, "alone")
    assert {name: ours[name] for name in theirs} == theirs


def test_changed_code_and_changed_pictures_are_said(place, alone):
    folder = place[0] / "runs" / "changed"
    shutil.copytree(place[0] / "runs" / "alone", folder)
    first, second, *_ = sorted(path for path in folder.iterdir() if (path / "env.json").exists())
    environment = json.loads((first / "env.json").read_text())
    environment["git"] = {"commit": "0123456789", "dirty": False}
    (first / "env.json").write_text(json.dumps(environment))
    config = yaml.safe_load((second / "config.yaml").read_text())
    config["data"]["fingerprint"] = "feed" * 16
    (second / "config.yaml").write_text(yaml.safe_dump(config))
    second.rename(second.with_name("dwa-mobilenet-00000000-s1"))
    for path in folder.glob("*/config.yaml"):
        path.write_text(path.read_text().replace("study: alone", "study: changed"))
    output = run(place, "study=changed", "weighting=sum,dwa", "seed=0,1", "mode=plan")
    assert "runs/changed: 4 runs: 3 done, 1 to train" in output
    assert re.search(r"the code has changed: 1 of commit 0123456, this is commit [0-9a-f]{7}", output)
    assert "runs/changed has 1 run on other pictures of data=trees (feedfeed, now " in output


def test_replays_wait_for_their_runs(place):
    blocks = "hydra.sweeper.blocks=[['weighting=constant','weighting.from_run=dwa,rgw'],['weighting=dwa,rgw']]"
    output = run(place, "study=again", blocks, "hydra.launcher.n_jobs=2")
    trained = DONE.findall(output)
    assert [name.split("-")[0] for name in sorted(trained)] == ["dwa", "replay_dwa", "replay_rgw", "rgw"]
    folder = place[0] / "runs" / "again"
    (replayed,) = folder.glob("replay_rgw-*")
    (source,) = folder.glob("rgw-*")
    rows = RunDir(source).rows("history.jsonl")
    weights = yaml.safe_load((replayed / "config.yaml").read_text())["weighting"]["method"]["weights"]
    assert weights["age"] == pytest.approx(sum(row["weight/age"] for row in rows) / len(rows))
    assert study(place, "again").stdout == "runs/again: 4 runs: 4 done\n"


@pytest.mark.parametrize(("name", "sentence"), [("none", "there is no such folder"), ("", "holds no run")])
def test_no_study(place, alone, name, sentence):
    shown = study(place, name)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith("mtl.study: runs")
    assert sentence in shown.stderr
    assert shown.stderr.count("\n") == 1
