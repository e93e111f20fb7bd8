"""The research questions in sweeps/: their headers are true, and every job of theirs composes, on both data sets."""

from __future__ import annotations

import re
from functools import cache
from math import isclose

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext

from mtl.config import CONF, compose

SWEEPS = {path.stem: path.read_text() for path in sorted((CONF.parent / "sweeps").glob("*.yaml"))}
TASKS = {"trees": ["age", "sick", "species"], "utkface": ["age", "gender", "ethnicity"]}
WEIGHTINGS = {path.stem for path in (CONF / "weighting").glob("*.yaml")}


@pytest.fixture(autouse=True)
def study_size(monkeypatch):
    """Jobs of these tests must not tell later tests how large their study is."""
    monkeypatch.setenv("MTL_STUDY_SIZE", "")


@cache
def _jobs(sweep: str, *overrides: str) -> list[list[str]]:
    """The jobs of `python run.py sweep=NAME OVERRIDES`, by the sweeper of a run."""
    line = [f"sweep={sweep}", *overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        sweeper = Plugins.instance()._instantiate(
            hydra_compose("config", overrides=line, return_hydra_config=True).hydra.sweeper
        )
        loader = GlobalHydra.instance().config_loader()
        sweeper.hydra_context = HydraContext(config_loader=loader, callbacks=Callbacks())
        (jobs,) = sweeper.split_arguments(OverridesParser.create(loader).parse_overrides(line), None)
    return jobs


def _values(jobs: list[list[str]], key: str) -> set[str]:
    return {line.partition("=")[2] for job in jobs for line in job if line.startswith(f"{key}=")}


def test_there_are_sweep_files():
    wanted = {"small", "weighting", "age_target", "backbone", "head", "scalarization_frontier", "replay"}
    assert wanted | {"learning_rate", "optimizer", "noise", "label_noise"} <= set(SWEEPS)


@pytest.mark.parametrize("data", TASKS)
@pytest.mark.parametrize("sweep", SWEEPS)
def test_the_header_says_what_is_asked_and_how_many_runs_it_takes(sweep, data):
    header = re.match(r"# @package _global_\n((?:#.*\n)+)", SWEEPS[sweep])
    fields = dict(re.findall(r"^# (Question|Runs|Cost|Feeds):\s+(\S.*)$", header[1] if header else "", re.MULTILINE))
    assert list(fields) == ["Question", "Runs", "Cost", "Feeds"]
    assert fields["Runs"].split()[0] == str(len(_jobs(sweep, f"data={data}")))
    assert "CPU" in header[1]
    assert "GPU" in header[1]


def test_every_job_composes_and_a_run_can_have_it():
    """Jobs are left out whose lines have all been in others that were composed, numbers apart: 0.1 s each, 2,500 jobs.

    No line of these sweeps depends on another one; what depends on the data set has its tasks' names in it.
    """
    seen: set[str] = set()
    for data, tasks in TASKS.items():
        for sweep in SWEEPS:
            for job in _jobs(sweep, f"data={data}"):
                lines = {re.sub(r"(?<=[=:])[\d.]+", "0", line) for line in job if not line.startswith("data=")}
                if new := (lines | {f"{sweep} on {data}"}) - seen:
                    config = compose(job)
                    assert config["study"] == sweep
                    assert config["names"]["data"] == data
                    assert set(config["tasks"]) <= set(tasks)
                    seen |= new
    assert len(seen) > len(WEIGHTINGS)


def test_the_weighting_sweep_has_every_weighting():
    assert _values(_jobs("weighting"), "weighting") == WEIGHTINGS - {"constant"}


def test_the_replay_sweep_replays_every_weighting_that_moves():
    jobs = _jobs("replay")
    replayed = _values(jobs, "weighting.from_run")
    assert replayed == WEIGHTINGS - {"constant", "sum", "mean"}
    assert _values(jobs, "weighting") == {*replayed, "sum", "constant"}
    for name in replayed:
        pair = [
            {line for line in job if line.startswith("seed=")}
            for line in (f"weighting={name}", f"weighting.from_run={name}")
            for job in jobs
            if line in job
        ]
        assert pair[: len(pair) // 2] == pair[len(pair) // 2 :]


@pytest.mark.parametrize("data", TASKS)
def test_single_task_runs_have_every_task_of_the_data_set(data):
    for sweep in SWEEPS:
        tasks = _values(_jobs(sweep, f"data={data}"), "tasks")
        assert tasks in (set(), {f"[{task}]" for task in TASKS[data]})


@pytest.mark.parametrize("data", TASKS)
def test_the_frontier_is_a_log_grid_of_weights_that_sum_to_the_number_of_tasks(data):
    texts = _values(_jobs("scalarization_frontier", f"data={data}"), "weighting.method.weights")
    points = [dict(re.findall(r"(\w+):([\d.]+)", text)) for text in texts]
    assert len(points) == 4**3 - 3**3  # all powers of each task, less those where a common factor is left
    for point in points:
        assert list(point) == TASKS[data]
        weights = [float(weight) for weight in point.values()]
        assert isclose(sum(weights), 3, rel_tol=1e-5)
        assert all(min(abs(w / min(weights) / 5**p - 1) for p in range(4)) < 1e-4 for w in weights)
    assert len({tuple(point.values()) for point in points}) == len(points)


@pytest.mark.parametrize("data", TASKS)
@pytest.mark.parametrize("sweep", ["noise", "label_noise"])
def test_noise_rises_in_one_task_at_a_time(sweep, data):
    """A job has at most one task whose noise is not the first level, and each task has two others."""
    jobs = [dict(re.findall(r"data\.noise\.(\w+)=([\d.]+)", " ".join(job))) for job in _jobs(sweep, f"data={data}")]
    first = dict.fromkeys(TASKS[data], "0") | {
        task: min((job[task] for job in jobs), key=float) for task in TASKS[data] if all(task in job for job in jobs)
    }
    raised = [{task: level for task, level in job.items() if level != first[task]} for job in jobs]
    assert max(map(len, raised)) == 1
    for task in TASKS[data]:
        assert len({job[task] for job in raised if task in job}) == 2
