from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mtl.config import CONF

#: jobs that leave what a training leaves, and fail or stop where told to
APP = """
import os
import signal
from pathlib import Path

import hydra
from omegaconf import OmegaConf

from mtl.sentences import sentences
from mtl.rundir import RunDir

os.environ["HYDRA_FULL_ERROR"] = "1"

@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(config):
    print("job", os.environ.get("MTL_STUDY_JOB"), flush=True)
    run = RunDir(Path(config.runs_dir) / config.study / f"{config.names.weighting}-s{config.seed}")
    run.begin()
    run.write_config(OmegaConf.to_container(config, resolve=True))
    if os.environ.get("STOP") == str(config.seed):
        os.kill(os.getpid(), signal.SIGINT)
    if os.environ.get("FAIL") == str(config.seed):
        run.end("failed", RuntimeError("the loss is not finite"))
        return -float("inf")
    numbers = {"age": {"mae_years": 9.0 + config.seed}}
    trivial = {"age": {"mae_years": 15.0}}
    run.write_json("metrics.json", {"selected_epoch": 0, "val": numbers, "test": numbers, "trivial": trivial})
    run.write_json("cost.json", {"step_ms": 1.0})
    run.end("done")
    return 0.5

with sentences():
    main()
"""
CONFIG = """
defaults: [_self_, {override hydra/sweeper: mtl_blocks}, {override hydra/hydra_logging: none},
  {override hydra/job_logging: none}]
mode: train
seed: 0
study: small
runs_dir: runs
tasks: [age]
names: {weighting: sum, data: trees}
data: {synthetic: true}
hydra:
  run: {dir: "${runs_dir}/${study}"}
  sweep: {dir: "${runs_dir}/${study}", subdir: .}
  output_subdir: null
  callbacks: {study: {_target_: mtl.callbacks.Study}}
"""


@pytest.fixture
def app(tmp_path: Path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text(CONFIG)
    (tmp_path / "app.py").write_text(APP)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "app.py", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(CONF.parent), "PYTHONWARNINGS": "error"} | environment,
            capture_output=True,
            text=True,
            check=False,
            # a test runner in the background hands on an ignored Ctrl-C
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return run


def test_a_study_ends_with_its_table_and_the_exit_code_of_its_own_jobs(app, tmp_path):
    result = app("-m", "names.weighting=sum,dwa", "seed=0,1", FAIL="1")
    assert result.returncode == 1
    assert result.stdout.startswith("job 1/4\njob 2/4\njob 3/4\njob 4/4\n")
    assert result.stdout.count("Study runs/small") == 1
    assert "failed runs/small/dwa-s1: RuntimeError: the loss is not finite\n" in result.stdout
    expected = ["2 of 4 jobs failed:", *(f"names.weighting={w} seed=1" for w in ("sum", "dwa"))]
    assert [line.strip() for line in result.stderr.splitlines()] == expected
    table = (tmp_path / "runs/small/table.md").read_text()
    assert "| dwa | 9.00 |" in table
    assert "dwa-s1" in table

    # the failures of that command are still shown, but are not this command's
    result = app("-m", "names.weighting=rlw", "seed=0,1")
    assert result.returncode == 0
    assert result.stderr == ""
    assert "failed runs/small/dwa-s1" in result.stdout
    assert "| rlw | 9.50 ± 0.71 |" in (tmp_path / "runs/small/table.md").read_text()


def test_a_study_of_failures_has_no_table_but_an_exit_code(app, tmp_path):
    result = app("-m", "seed=4", "study=other", FAIL="4")
    assert result.returncode == 1
    assert "No run in runs/other is finished" in result.stdout
    assert result.stderr.startswith("1 of 1 jobs failed:")
    assert not (tmp_path / "runs/other/table.md").exists()


def test_a_sweep_over_studies_has_a_table_in_each(app, tmp_path):
    result = app("-m", "study=one,two", f"runs_dir={tmp_path / 'elsewhere'}")
    assert result.returncode == 0
    for name in ("one", "two"):
        assert (tmp_path / "elsewhere" / name / "table.csv").exists()


def test_ctrl_c_stops_the_study_with_one_line(app, tmp_path):
    result = app("-m", "seed=0,1,2", STOP="1")
    assert result.returncode == 130
    assert result.stdout == "job 1/3\njob 2/3\n"
    assert result.stderr.count("\n") == 1
    assert "same command" in result.stderr
    assert not (tmp_path / "runs/small/table.md").exists()


def test_a_single_run_has_no_place_and_no_table(app, tmp_path):
    result = app("seed=3", MTL_STUDY_SIZE="8")
    assert result.returncode == 0
    assert result.stdout == "job None\n"
    assert not (tmp_path / "runs/small/table.md").exists()
