"""From a resolved config to the objects of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mtl.config import bind
from mtl.data.loader import Augment, Loader
from mtl.data.noise import LabelNoise
from mtl.data.pack import Field, Pack, pack
from mtl.data.split import split
from mtl.display import progress_bar
from mtl.environment import choose_device
from mtl.model import HydraNet, build_model
from mtl.optim import Schedule, build_optimizer
from mtl.tasks import Task, build_tasks
from mtl.weighting.base import Weighting
from mtl.weighting.control import Control

_EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Parts:
    """What can be built, and can be wrong, before any data are read."""

    device: torch.device
    tasks: list[Task]
    weighting: Weighting
    model: HydraNet
    noise: LabelNoise
    optimizer: Callable[..., Optimizer]  # its options bound
    schedule: Callable[[int, int], float]  # (step, number of steps) -> factor


@dataclass(frozen=True)
class Loaders:
    """Batches of the three parts, and the labels [N, K] of the trained tasks that they give."""

    train: Loader
    val: Loader
    test: Loader
    labels: Tensor


def build_parts(config: Mapping[str, Any]) -> Parts:
    """All that needs no data; each module of the network under its own seed.

    Raises:
        ValueError: a value that one of them refuses.
    """
    device = choose_device(config["train"]["device"])
    data, tasks = config["data"], tasks_of(config)
    head = {key: value for key, value in config["head"].items() if key != "binary_outputs"}
    noise = LabelNoise.build(tasks, data["noise"], data["noise_mode"], data["missing_rate"])
    weighting = build_weighting(config, tasks)
    with _sentences("backbone or head"):
        model = build_model(tasks, bind(config["backbone"]), bind(head), config["seed"])
    _check_size(model, config)
    optimizer, schedule = bind(config["optimizer"]), bind(config["schedule"])
    return Parts(device, tasks, weighting.to(device), model.to(device), noise, optimizer, schedule)


def tasks_of(config: Mapping[str, Any]) -> list[Task]:
    """The tasks that are trained.

    Raises:
        ValueError: a value that does not fit them.
    """
    return build_tasks(
        config["tasks"],
        config["data"]["tasks"],
        config["age_target"],
        config["head"]["binary_outputs"],
        config["label_smoothing"],
    )


@contextmanager
def _sentences(node: str) -> Iterator[None]:
    """A value of a wrong type (a word where a number belongs) is the user's mistake, too."""
    try:
        yield
    except TypeError as error:
        raise ValueError(f"{node}: a value has the wrong type ({str(error).splitlines()[0]}); see its YAML.") from error


def build_weighting(config: Mapping[str, Any], tasks: Sequence[Task]) -> Weighting:
    """The weighting with its controls, and the one that scales the losses for it if there is one.

    Raises:
        ValueError: a value that one of them refuses.
    """
    with _sentences("weighting.method"):
        weighting: Weighting = bind(config["weighting"]["method"])(tasks)
    prescale = None
    if config.get("prescale"):
        with _sentences("prescale.method"):
            prescale = bind(config["prescale"]["method"])(tasks)
    weighting.compose(Control(**{key: value for key, value in config["control"].items() if key != "lr"}), prescale)
    return weighting


def settle(config: Mapping[str, Any], weighting: Weighting) -> None:
    """Write out in `control` what the method decides: a control that it cannot feel makes no other run."""
    control = config["control"]
    if not any(True for _ in weighting.parameters()):
        control["lr"] = None
    if weighting.kind == "total":
        control["features"] = "parameters"
        control["heads"] = control["heads"] or "weighted"
    elif weighting.prescale is None:
        control["heads"] = control["heads"] or "raw"


@torch.no_grad()
def _check_size(model: HydraNet, config: Mapping[str, Any]) -> None:
    """Try one black picture before any are packed: a network that halves often has nothing left of a small one.

    In evaluation mode, in which neither a statistic nor a generator moves.

    Raises:
        ValueError: pictures of data.image_size are too small for the backbone.
    """
    model.eval()
    size = config["data"]["image_size"]
    try:
        model(torch.zeros(1, 3, size, size))
    except RuntimeError as error:
        name = config["names"]["backbone"]
        stem = " or backbone.stem=small" if config["backbone"].get("stem") == "imagenet" else ""
        raise ValueError(
            f"data.image_size={size}: {name} cannot take pictures that small "
            f"({str(error).splitlines()[0].rstrip('.')}); give data.image_size={2 * size} or more{stem}."
        ) from error
    model.train()


def load_data(config: Mapping[str, Any]) -> Pack:
    """The packed pictures, drawn first where the data set is drawn.

    Raises:
        ValueError: no root, or nothing usable in it.
    """
    data, name = config["data"], config["names"]["data"]
    cache, root = Path(data["cache"]).expanduser(), data["root"]
    if data["draw"] and root is None:
        with progress_bar(f"drawing {name}") as progress:
            root = bind(data["draw"])(cache, progress=progress)
    if root is None:
        raise ValueError(f"data={name} needs data.root=PATH, the folder or the archive of its pictures.")
    fields = [
        Field(task, spec["low"], spec["high"]) if "low" in spec else Field(task, 0, len(spec["classes"]) - 1)
        for task, spec in data["tasks"].items()
    ]
    with progress_bar("packing pictures") as progress:
        return pack(
            Path(root).expanduser(),
            fields,
            data["image_size"],
            cache,
            partial_labels=data["partial_labels"],
            near_duplicates=data["near_duplicates"],
            workers=data["workers"],
            progress=progress,
        )


def build_loaders(config: Mapping[str, Any], parts: Parts, data: Pack) -> Loaders:
    """Loaders of the three parts.

    Raises:
        ValueError: a part without pictures.
    """
    options = config["data"]
    columns = [list(options["tasks"]).index(task.name) for task in parts.tasks]
    labels = torch.from_numpy(data.labels[:, columns].copy())
    indices = split(data.split_names, options["split_seed"])
    for part, members in indices.items():
        if not len(members):
            raise ValueError(f"data: the {part} part has none of the {len(data.names)} pictures; give more pictures.")
    train = indices["train"]
    labels[train] = parts.noise.plant(labels[train], [data.names[i] for i in train], parts.tasks)
    batch = config["train"]["batch_size"]
    if batch > len(train):
        print(f"train.batch_size={batch} is more than the {len(train)} training pictures: batches of {len(train)}.")
    loader = partial(Loader, data.images, labels, tasks=parts.tasks, device=parts.device)
    augment = Augment(**options["augment"])
    return Loaders(
        train=loader(train, batch_size=batch, seed=config["seed"], augment=augment, noise=parts.noise),
        val=loader(indices["val"], batch_size=_EVALUATION_BATCH),
        test=loader(indices["test"], batch_size=_EVALUATION_BATCH),
        labels=labels,
    )


def build_optimization(config: Mapping[str, Any], parts: Parts, num_steps: int) -> tuple[Optimizer, Schedule]:
    """The optimizer, and its schedule over `num_steps`."""
    optimizer = build_optimizer(parts.optimizer, parts.model, parts.weighting, config["control"]["lr"])
    return optimizer, Schedule(optimizer, num_steps, parts.schedule)
