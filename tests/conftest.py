"""What test folders share: seeds, one thread, every weighting's YAML, a small drawn data set, a tiny network."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from mtl.config import CONF, bind, compose
from mtl.model import HydraNet, build_model
from mtl.tasks import Task, build_tasks
from mtl.weighting.base import Weighting
from mtl.weighting.step import Step

# The same examples every time: a suite that fails only sometimes says nothing. HYPOTHESIS_PROFILE=default draws others.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

WEIGHTINGS = sorted(path.stem for path in (CONF / "weighting").glob("*.yaml"))
SPECS: dict[str, dict[str, Any]] = {
    "age": {"kind": "regression", "low": 1, "high": 116},
    "sick": {"kind": "binary", "classes": ["healthy", "sick"]},
    "species": {"kind": "multiclass", "classes": ["pine", "oak", "beech", "birch", "cherry"]},
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with the argument `weighting_name` runs for every YAML in conf/weighting."""
    if "weighting_name" in metafunc.fixturenames:
        metafunc.parametrize("weighting_name", WEIGHTINGS)


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TinyBackbone(nn.Module):
    """Convolution, BatchNorm, convolution, BatchNorm, mean: [B, 3, S, S] -> [B, 6]."""

    num_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, bias=False)
        self.first_norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 6, 3, stride=2)
        self.last_norm = nn.BatchNorm2d(6)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.first_norm(self.first(images)).relu()
        return self.last_norm(self.last(hidden)).relu().mean((2, 3))


class Bench:
    """A tiny network and a fixed batch: what a weighting sees in a training step, at real shapes."""

    def __init__(self, tasks: Sequence[Task], seed: int = 0) -> None:
        self.tasks = list(tasks)
        self.model: HydraNet = build_model(self.tasks, TinyBackbone, nn.Linear, seed)
        generator = torch.Generator().manual_seed(seed)
        num = 12
        self.images = torch.randn(num, 3, 12, 12, generator=generator)
        self.targets = {
            task.name: torch.randint(max(task.low, 0), task.high + 1, (num,), generator=generator).float()
            for task in self.tasks
        }

    def losses(self, inactive: Sequence[str] = (), batch: str = "same") -> tuple[Tensor, list[Tensor]]:
        """Features and K losses; a task that is inactive has no label at all. Another `batch` has other pictures."""
        features, outputs = self.model(self.images if batch == "same" else self.images.flip(0))
        present = torch.ones(len(self.images), dtype=torch.bool)
        losses = [
            task.loss(output, self.targets[task.name], present & (task.name not in inactive))
            for task, output in zip(self.tasks, outputs, strict=True)
        ]
        return features, losses

    def step(self, inactive: Sequence[str] = (), epoch: int = 0, index: int = 0) -> Step:
        features, losses = self.losses(inactive)
        model = self.model
        return Step(
            losses,
            [task.name not in inactive for task in self.tasks],
            features,
            model.shared_parameters(),
            model.last_shared_parameters(),
            model.head_parameters(),
            epoch,
            index,
            lambda batch: self.losses(inactive, batch)[1],
        )

    def rows(self) -> Tensor:
        """The K gradients of the shared parameters [K, n], by `torch.autograd.grad`, one loss at a time."""
        shared = self.model.shared_parameters()
        rows = []
        for k in range(len(self.tasks)):
            _, losses = self.losses()
            gradients = torch.autograd.grad(losses[k], shared, allow_unused=True)
            pairs = zip(gradients, shared, strict=True)
            rows.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs]))
        return torch.stack(rows)

    def shared_gradient(self) -> Tensor:
        """What lies in `.grad` of the shared parameters, [n]."""
        shared = self.model.shared_parameters()
        return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in shared])

    def clear(self) -> None:
        self.model.zero_grad(set_to_none=True)


@pytest.fixture
def linear_step() -> Callable[..., Step]:
    """`linear_step(rows, values)`: K losses value_k + row_k . theta at theta = 0; their gradients are the rows."""

    def make(rows: Tensor, values: Sequence[float] | None = None, active: Sequence[bool] | None = None) -> Step:
        theta = nn.Parameter(torch.zeros(rows.shape[1], dtype=rows.dtype))
        offsets = [0.0] * len(rows) if values is None else list(values)

        def losses(batch: str = "same") -> list[Tensor]:
            return [row @ theta + offset for row, offset in zip(rows, offsets, strict=True)]

        flags = [True] * len(rows) if active is None else list(active)
        return Step(losses(), flags, torch.zeros(1, 1), [theta], [theta], [[] for _ in rows], 0, 0, losses)

    return make


@pytest.fixture
def make_tasks() -> Callable[..., list[Task]]:
    """`make_tasks(["age", "sick"], loss="l1")`: tasks as conf/data/trees.yaml has them."""

    def make(
        names: Sequence[str] = tuple(SPECS),
        transform: str = "log_sigmoid",
        loss: str = "mse",
        beta: float = 0.03,
        binary_outputs: int = 1,
        label_smoothing: float = 0.0,
    ) -> list[Task]:
        target = {"transform": transform, "loss": loss, "beta": beta}
        return build_tasks(names, SPECS, target, binary_outputs, label_smoothing)

    return make


@pytest.fixture
def tasks(make_tasks: Callable[..., list[Task]]) -> list[Task]:
    """age (squared error), sick, species."""
    return make_tasks()


@pytest.fixture
def bench(tasks: list[Task]) -> Bench:
    return Bench(tasks)


@pytest.fixture
def make_bench() -> type[Bench]:
    return Bench


@cache
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    return compose(overrides)


@pytest.fixture
def make_weighting() -> Callable[..., Weighting]:
    """`make_weighting("dwa", tasks)`: the method of conf/weighting/dwa.yaml, built as a run builds it."""

    def make(name: str, tasks: Sequence[Task], *overrides: str) -> Weighting:
        config = _composed((f"weighting={name}", *overrides))
        weighting = bind(config["weighting"]["method"])(tasks)
        assert isinstance(weighting, Weighting)
        return weighting

    return make


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the session: what one test draws and packs, the next one finds."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tiny_config(cache: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`tiny_config("weighting=dwa")`: a run of seconds on 120 drawn pictures, everything else as in conf/."""

    def configure(*overrides: str) -> dict[str, Any]:
        tiny = (
            f"data.cache={cache}",
            f"runs_dir={tmp_path}",
            "data.draw.num=120",
            "data.draw.size=32",
            "data.image_size=16",
            "data.workers=1",
            "backbone=mobilenet",
            "head.hidden=8",
            "train.batch_size=16",
            "train.epochs=2",
            "train.device=cpu",
            "train.threads=1",
            "logger=none",
        )
        return copy.deepcopy(_composed((*tiny, *overrides)))

    return configure
