"""Entry: `python run.py weighting=uncertainty`, `python run.py -m weighting=sum,dwa`, `python run.py sweep=small`."""

import os
import signal

# Before torch is imported: idle OpenMP threads that spin for long starve other processes of their processors.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Hydra prints a config error in its own way unless this is set; then it arrives at `sentences`.
os.environ["HYDRA_FULL_ERROR"] = "1"

import hydra
from omegaconf import DictConfig

from mtl.config import resolve, sentences


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(config: DictConfig) -> float:
    """Run one job; its best validation score."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    with sentences():
        job = HydraConfig.get()
        resolved = resolve(config, job.runtime.choices)
        from mtl.experiment import (
            run,
        )  # torch and torchvision take seconds to import, a misspelt option should not

        return run(resolved, job.overrides.task, job.mode == RunMode.MULTIRUN)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with sentences():
        main()
