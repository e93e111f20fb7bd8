"""Entry: `python run.py weighting=uncertainty`, `python run.py -m weighting=sum,dwa`, `python run.py sweep=small`."""

import os
import signal
from pathlib import Path

# Before torch is imported: idle OpenMP threads that spin for long starve other processes of their processors.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Hydra prints a config error in its own way unless this is set; then it arrives at `sentences`.
os.environ["HYDRA_FULL_ERROR"] = "1"

import hydra
from omegaconf import DictConfig

from mtl.config import resolve
from mtl.rundir import remove_if_empty
from mtl.sentences import sentences


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(config: DictConfig) -> float:
    """Run one job; its best validation score."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    with sentences():
        job = HydraConfig.get()
        try:
            resolved = resolve(config, job.runtime.choices)
            from mtl.experiment import run  # takes seconds (torch), a misspelt option should not

            return run(resolved, job.overrides.task, job.mode == RunMode.MULTIRUN)
        finally:
            remove_if_empty(Path(job.runtime.output_dir))


if __name__ == "__main__":
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as under nohup
            signal.signal(ending, signal.default_int_handler)
    with sentences():
        main()
