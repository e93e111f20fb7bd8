"""Hydra callback: what a command prints when its jobs have ended, and its exit code."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig


class Study(Callback):
    """Prints and writes the table of a study at its end; exit code 1 if a job of this command failed.

    A job that fails records it in its `status.json` and returns -inf instead of raising: an exception would keep
    Hydra from calling anything here. Ctrl-C reaches nothing here either, it goes through to `run.py`. A launcher whose
    jobs are other processes must call `on_job_end` in this one.
    """

    def __init__(self) -> None:
        self.num_jobs = 0
        self.failed: list[str] = []
        self.folders: dict[Path, None] = {}

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any) -> None:
        """Tell the job its place in the study: MTL_STUDY_JOB=3/8."""
        if config.hydra.mode == RunMode.MULTIRUN and (size := os.environ.get("MTL_STUDY_SIZE")):
            os.environ["MTL_STUDY_JOB"] = f"{config.hydra.job.num + 1}/{size}"

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note how the job ended and in which study it was (a sweep over `study` has several)."""
        self.num_jobs += 1
        self.folders[Path(config.hydra.runtime.output_dir)] = None
        if job_return.status == JobStatus.FAILED or job_return.return_value == float("-inf"):
            self.failed.append(" ".join(config.hydra.overrides.task) or "defaults")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Tables first, then the jobs that failed."""
        from mtl.report import report

        for folder in self.folders if config.mode == "train" else ():
            try:
                place = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
                report([place], figures=False)
            except (ValueError, OSError) as error:
                print(f"mtl.report: {error}", file=sys.stderr)
        if self.failed:
            print(
                f"{len(self.failed)} of {self.num_jobs} jobs failed:",
                *self.failed,
                sep="\n  ",
                file=sys.stderr,
            )
            sys.exit(1)
