"""Hydra sweeper `mtl_blocks`: a study as several Cartesian products, the blocks.

Single-task baselines beside multi-task runs are no Cartesian product, two blocks are:

    hydra:
      sweeper:
        blocks:
          - - weighting=sum,dwa
            - seed=range(0,5)
          - - weighting=sum
            - tasks=${each:${tasks}}
            - seed=range(0,5)

Without `blocks` it is Hydra's basic sweeper. What the command line says holds for every block and replaces the
block's own value of that key (`seed=7` runs every block with seed 7). A job that two blocks name runs once.
"""

# No `from __future__ import annotations` here: Hydra executes a plugin before it enters sys.modules, where a
# dataclass would look up its string annotations.
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.errors import OverrideParseException
from hydra.plugins.launcher import Launcher
from hydra.utils import get_method
from omegaconf import OmegaConf

from mtl.rundir import remove_if_empty


def each(names: Sequence[Any]) -> str:
    """The sweep over one-item lists, `[age],[sick]`: with `tasks=` before it, a single-task run per task."""
    return ",".join(f"[{name}]" for name in names)


def frontier(names: Sequence[Any], ratio: float, steps: int) -> str:
    """The sweep over fixed weights, `{age:1.5,sick:0.5},...`: with `weighting.method.weights=` before it, a grid.

    The ratio of any two weights is a power of `ratio`, at most the power `steps - 1`; each point occurs once, and its
    weights sum to the number of tasks, as those of `sum` do.
    """
    points = []
    for powers in itertools.product(range(steps), repeat=len(names)):
        if min(powers) == 0:  # else it is the point with all powers one less
            total = sum(ratio**power for power in powers)
            weights = (len(names) * ratio**power / total for power in powers)
            points.append(",".join(f"{name}:{weight:.6g}" for name, weight in zip(names, weights, strict=True)))
    return ",".join(f"{{{point}}}" for point in points)


OmegaConf.register_new_resolver("each", each, replace=True)
OmegaConf.register_new_resolver("frontier", frontier, replace=True)


@dataclass
class BlockSweeperConf(BasicSweeperConf):
    """The basic sweeper's options, the blocks (lists of overrides), and a check.

    `check` names a function (config, choices) that gives the resolved config of a job, and raises for one which no job
    can have; `plan` one that is called with all of them, as (overrides, resolved config), and the launcher's options.
    """

    _target_: str = "hydra_plugins.mtl_blocks.BlockSweeper"
    blocks: list[list[str]] | None = None
    check: str | None = None
    plan: str | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="mtl_blocks", node=BlockSweeperConf, provider="mtl")


class NoLauncher(Launcher):
    """Starts nothing."""

    def setup(self, **kwargs: Any) -> None:
        """Needs nothing."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """No job, no return."""
        return []


class BlockSweeper(BasicSweeper):
    """The basic sweeper, run over several blocks of overrides one after the other."""

    def __init__(
        self,
        blocks: Sequence[Sequence[str]] | None = None,
        check: str | None = None,
        plan: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.blocks, self.check, self.plan = list(blocks or [[]]), check, plan

    def sweep(self, arguments: list[str]) -> Any:
        """Run every job, with mode=plan none; a study that wrote nothing leaves no folder."""
        assert self.config is not None
        if OmegaConf.select(self.config, "mode") == "plan":
            self.launcher = NoLauncher()  # whichever was chosen: one that submits jobs elsewhere would do so
        try:
            return super().sweep(arguments)
        finally:
            remove_if_empty(Path(self.config.hydra.sweep.dir))

    def split_arguments(  # type: ignore[override]  # static in Hydra, which calls it on the instance
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """The batches of jobs, each job a list of overrides; sets MTL_STUDY_SIZE to the number of jobs."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(self.hydra_context.config_loader)
        if any(override.key_or_group == "sweep" and override.is_sweep_override() for override in overrides):
            raise ValueError("sweep takes one name; give each sweep its own command")
        jobs: dict[frozenset[str], list[str]] = {}
        for number, block in enumerate(self.blocks, start=1):
            try:
                parsed = parser.parse_overrides(list(block))
            except OverrideParseException as error:
                raise ValueError(
                    f"block {number} of hydra.sweeper.blocks: '{error.override}' is no override; "
                    "write one `key=value` per line (a comma separates choices)"
                ) from error
            for job in BasicSweeper.split_arguments([*parsed, *overrides], None)[0]:
                jobs.setdefault(frozenset(job), job)
        os.environ["MTL_STUDY_SIZE"] = str(len(jobs))
        return list(self.split_overrides_to_chunks(list(jobs.values()), max_batch_size))

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose and check every job before the first one starts."""
        assert self.hydra_context is not None
        assert self.config is not None
        # Hydra has just written its own configuration there, with paths of this machine that nobody configured.
        (Path(self.config.hydra.sweep.dir) / "multirun.yaml").unlink(missing_ok=True)
        jobs = []
        for job in batch:
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(job))
            if self.check:
                jobs.append((job, get_method(self.check)(config, config.hydra.runtime.choices)))
        if self.plan:
            get_method(self.plan)(jobs, self.config.hydra.launcher)
