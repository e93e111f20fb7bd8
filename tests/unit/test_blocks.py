from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode

from mtl.config import CONF, compose

ROOT = CONF.parent


@pytest.fixture(autouse=True)
def study_size(monkeypatch):
    """Jobs of these tests must not tell later tests how large their study is."""
    monkeypatch.setenv("MTL_STUDY_SIZE", "")


def _jobs(*config: str, sweep: tuple[str, ...] = (), batch: int | None = None) -> list[list[list[str]]]:
    """The batches of jobs that the command line `config` and `sweep` gives under the real conf/."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = hydra_compose("config", overrides=list(config), return_hydra_config=True).hydra
        sweeper = Plugins.instance()._instantiate(hydra.sweeper)
        loader = GlobalHydra.instance().config_loader()
        sweeper.hydra_context = HydraContext(config_loader=loader, callbacks=Callbacks())
        return sweeper.split_arguments(OverridesParser.create(loader).parse_overrides(list(sweep)), batch)


def _blocks(*blocks: list[str]) -> str:
    quoted = ("[" + ",".join(f"'{line}'" for line in block) + "]" for block in blocks)
    return f"hydra.sweeper.blocks=[{','.join(quoted)}]"


TWO = _blocks(["weighting=sum,dwa", "seed=range(0,2)"], ["weighting=sum", "tasks=[age],[sick]", "seed=0"])


def test_each_block_is_its_own_product():
    assert _jobs(TWO) == [
        [
            ["weighting=sum", "seed=0"],
            ["weighting=sum", "seed=1"],
            ["weighting=dwa", "seed=0"],
            ["weighting=dwa", "seed=1"],
            ["weighting=sum", "tasks=[age]", "seed=0"],
            ["weighting=sum", "tasks=[sick]", "seed=0"],
        ]
    ]
    assert os.environ["MTL_STUDY_SIZE"] == "6"


def test_without_blocks_it_is_the_basic_sweeper():
    sweep = ("weighting=sum,dwa", "tasks=[age],[sick]", "train.epochs=1")
    (jobs,) = _jobs(sweep=sweep)
    assert jobs == [
        [f"weighting={weighting}", f"tasks=[{task}]", "train.epochs=1"]
        for weighting in ("sum", "dwa")
        for task in ("age", "sick")
    ]
    assert _jobs(sweep=()) == [[[]]]


def test_the_command_line_replaces_a_key_in_every_block():
    (jobs,) = _jobs(TWO, sweep=("seed=5,6", "train.epochs=1"))
    assert jobs == [
        ["weighting=sum", "seed=5", "train.epochs=1"],
        ["weighting=sum", "seed=6", "train.epochs=1"],
        ["weighting=dwa", "seed=5", "train.epochs=1"],
        ["weighting=dwa", "seed=6", "train.epochs=1"],
        ["weighting=sum", "tasks=[age]", "seed=5", "train.epochs=1"],
        ["weighting=sum", "tasks=[age]", "seed=6", "train.epochs=1"],
        ["weighting=sum", "tasks=[sick]", "seed=5", "train.epochs=1"],
        ["weighting=sum", "tasks=[sick]", "seed=6", "train.epochs=1"],
    ]


def test_a_job_that_two_blocks_name_runs_once():
    (jobs,) = _jobs(_blocks(["weighting=sum,dwa", "seed=0"], ["seed=0,1", "weighting=dwa"]))
    assert jobs == [["weighting=sum", "seed=0"], ["weighting=dwa", "seed=0"], ["seed=1", "weighting=dwa"]]
    assert os.environ["MTL_STUDY_SIZE"] == "3"


def test_batches_are_cut_over_all_blocks():
    assert [len(batch) for batch in _jobs(TWO, batch=4)] == [4, 2]


def test_a_line_that_is_no_override_names_its_block():
    with pytest.raises(
        ValueError, match=r"^block 2 of hydra.sweeper.blocks: 'dwa' is no override; write one `key=value`"
    ):
        _jobs(_blocks(["seed=0,1"], ["weighting=sum", "dwa"]))


def test_two_sweep_files_in_one_command_are_refused():
    with pytest.raises(ValueError, match="sweep takes one name"):
        _jobs(sweep=("sweep=small,other",))


@pytest.mark.parametrize(
    ("data", "tasks"), [("trees", ["age", "sick", "species"]), ("utkface", ["age", "gender", "ethnicity"])]
)
def test_the_small_sweep_has_a_single_task_run_per_task_of_any_data_set(data, tasks):
    (jobs,) = _jobs("sweep=small", f"data={data}", sweep=("sweep=small", f"data={data}"))
    configs = [compose(job) for job in jobs]
    runs = [(config["names"]["weighting"], config["tasks"], config["seed"]) for config in configs]
    assert runs == [
        *((weighting, tasks, seed) for weighting in ("sum", "uncertainty", "dwa", "rlw") for seed in (0, 1)),
        *(("sum", [task], seed) for task in tasks for seed in (0, 1)),
    ]


def test_a_sweep_file_asks_for_a_multirun_itself():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra_compose("config", overrides=["sweep=small"], return_hydra_config=True)
    assert config.hydra.mode == RunMode.MULTIRUN


APP = """
import hydra

@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(config):
    print("job", config.seed, config.names, flush=True)

main()
"""
CONFIG = """
defaults: [_self_, {sweep: null}, {override hydra/sweeper: mtl_blocks}, {override hydra/hydra_logging: none},
  {override hydra/job_logging: none}]
seed: 0
names: default
hydra: {run: {dir: runs}, sweep: {dir: runs, subdir: .}, output_subdir: null}
"""
SWEEP = """# @package _global_
names: swept
hydra: {mode: MULTIRUN, sweeper: {blocks: [["seed=1,2"], ["seed=7"]]}}
"""


@pytest.fixture
def app(tmp_path: Path):
    """An app whose group `sweep` is a link to another folder, as in this repository."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "conf" / "sweep").symlink_to("../sweeps")
    for name, text in {"app.py": APP, "conf/config.yaml": CONFIG, "sweeps/small.yaml": SWEEP}.items():
        (tmp_path / name).write_text(text)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "app.py", *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("flags", [[], ["-m"]], ids=["without", "with"])
def test_a_sweep_file_runs_with_and_without_the_multirun_flag(app, flags):
    result = app("sweep=small", *flags)
    assert result.stderr == ""
    assert result.stdout.split("\n")[:-1] == ["job 1 swept", "job 2 swept", "job 7 swept"]


def test_a_misspelt_sweep_is_an_error_and_runs_nothing(app):
    result = app("sweep=smal")
    assert result.returncode != 0
    assert "sweep/smal" in result.stderr
    assert "small" in result.stderr
    assert "job" not in result.stdout
