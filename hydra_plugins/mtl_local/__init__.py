"""Hydra launcher `local`: a child process per job, forked from this one, which has imported everything by then.

    python run.py -m weighting=sum,dwa seed=0,1,2 hydra.launcher.n_jobs=3

One job that is killed, or out of memory, ends alone. Processors are divided among the jobs (`train.threads`, unless it
is given), GPUs are dealt out. Ctrl-C lets the running jobs save and stop.
"""

# No `from __future__ import annotations` here: Hydra executes a plugin before it enters sys.modules, where a
# dataclass would look up its string annotations.
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict


@dataclass
class LocalLauncherConf:
    """Jobs at a time: `n_jobs` (null: one, or `jobs_per_gpu` for each GPU)."""

    _target_: str = "hydra_plugins.mtl_local.LocalLauncher"
    n_jobs: int | None = None
    jobs_per_gpu: int = 1


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalLauncherConf, provider="mtl")


class LocalLauncher(Launcher):
    """Runs jobs in child processes."""

    def __init__(self, n_jobs: int | None = None, jobs_per_gpu: int = 1) -> None:
        self.n_jobs, self.jobs_per_gpu = n_jobs, jobs_per_gpu
        if isinstance(n_jobs, int) and n_jobs > 1:
            # Here, for planning already imports torch: threads that spin would hold up the other jobs.
            os.environ |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra has for a launcher."""
        from mtl.pool import check_counts

        check_counts(n_jobs=self.n_jobs, jobs_per_gpu=self.jobs_per_gpu)
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; how each ended, in their order."""
        setup_globals()
        from mtl.experiment import FAILED  # imports what every job needs, once
        from mtl.pool import Ended, Job, Pool

        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        pool = Pool(self.n_jobs, self.jobs_per_gpu, max_hours=self.config.get("max_hours"))
        returns: dict[int, JobReturn] = {}
        configs: dict[int, DictConfig] = {}
        common = set.intersection(*map(set, job_overrides)) if len(job_overrides) > 1 else set()

        def jobs() -> Iterator[Job]:
            for index, overrides in enumerate(job_overrides):
                config = self._compose(overrides, initial_job_idx + index, pool.threads)
                late = OmegaConf.select(config, "weighting.from_run") is not None
                title = " ".join(word for word in filter_overrides(overrides) if word not in common) or "defaults"
                configs[index], returns[index] = config, JobReturn(overrides=overrides)
                yield Job(title, partial(self._work, config), late, index)

        def ended(job: Job, end: Ended) -> None:
            back, config = returns[job.key], configs[job.key]
            # What failed is a number too, as within a job: an exception would end the study without a word of the rest.
            back.return_value, back.status = FAILED if end.value is None else end.value, JobStatus.COMPLETED
            self.hydra_context.callbacks.on_job_end(config=config, job_return=back)

        pool.run(jobs(), ended, len(job_overrides))
        return [returns[index] for index in range(len(job_overrides))]

    def _compose(self, overrides: Sequence[str], number: int, threads: int) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
            config.hydra.runtime.output_dir = str(Path(config.hydra.sweep.dir, config.hydra.sweep.subdir).absolute())
            if OmegaConf.select(config, "train.threads", default=1) is None:
                config.train.threads = threads
        return config

    def _work(self, config: DictConfig) -> float:
        """In the child: the job, as Hydra runs one."""
        done = run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        return float(done.return_value)  # raises what the job has raised
