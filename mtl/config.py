"""The one door for configs: from overrides, or from Hydra's app, to a plain, resolved and checked dictionary."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mtl.identity import flatten
from mtl.sentences import explain, first_line

CONF = Path(__file__).parents[1] / "conf"
_GROUPS = ("data", "backbone", "head", "age_target", "weighting", "optimizer", "schedule", "train", "logger")

# key -> (type, smallest, largest, what else is allowed); None without bounds
_RULES: dict[str, tuple[type, float | None, float | None, tuple[Any, ...]]] = {
    "seed": (int, 0, 2**31 - 1, ()),
    "study": (str, None, None, ()),
    "runs_dir": (str, None, None, ()),
    "max_hours": (float, 1e-6, None, (None,)),
    "label_smoothing": (float, 0, 0.99, ()),
    "data.root": (str, None, None, (None,)),
    "data.cache": (str, None, None, ()),
    "data.image_size": (int, 16, 1024, ()),
    "data.split_seed": (int, 0, None, ()),
    "data.workers": (int, 1, None, (None,)),
    "data.augment.shift": (int, 0, 15, ()),
    "data.augment.flip": (bool, None, None, ()),
    "data.near_duplicates": (bool, None, None, ()),
    "backbone.arch": (str, None, None, ()),
    "backbone.weights": (str, None, None, (None,)),
    "backbone.channels_last": (bool, None, None, ()),
    "age_target.beta": (float, 1e-12, 1e6, ()),
    "train.device": (str, None, None, ()),
    "train.epochs": (int, 1, None, ()),
    "train.batch_size": (int, 2, None, ()),
    "train.threads": (int, 1, 1024, (None,)),
    "train.amp": (bool, None, None, ()),
    "train.probe": (int, 1, None, (None,)),
    "train.clip": (float, 1e-12, None, (None,)),
    "optimizer.lr": (float, 1e-12, 1e6, ()),
    "optimizer.weight_decay": (float, 0, 1e6, ()),
    "schedule.warmup": (float, 0, 0.99, ()),
    "control.lr": (float, 1e-12, 1e6, ()),
}
_OF_OPTIONS = ("optimizer.", "schedule.", "backbone.", "age_target.")  # what keys these have depends on the option
_CHOICES: dict[str, tuple[str, ...]] = {
    "mode": ("train", "check", "plan"),
    "control.normalize": ("none", "sum_to_K", "match_sum_norm"),
    "control.features": ("parameters", "representation"),
    "train.keep": ("best", "last", "none"),
    "data.partial_labels": ("skip", "mask"),
    "logger.wandb.mode": ("offline", "online", "disabled"),
}


def compose(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The config of `python run.py <overrides>`, resolved and checked, for notebooks, tests and tools.

    Raises:
        ValueError: an override that does not fit, in one sentence.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra_compose("config", overrides=list(overrides), return_hydra_config=True)
            return resolve(config, config.hydra.runtime.choices)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain(error)) from error


def resolve(config: DictConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """A plain dictionary of `config` without interpolations, with the chosen option of each group under `names`.

    Raises:
        ValueError: a value of the wrong type or out of range.
    """
    own = {key: value for key, value in config.items_ex(resolve=False) if key != "hydra"}
    container = OmegaConf.create(own)
    plain = OmegaConf.to_container(container, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    for group in _GROUPS:
        if group not in choices or group not in plain:
            raise ValueError(f"{group} is missing and a run needs one: leave out ~{group}.")
    names = {group: choices[group] for group in _GROUPS}
    if prescale := choices.get("weighting@prescale"):
        names["weighting"] = f"{prescale}+{names['weighting']}"
    arch = str(plain["backbone"].get("arch", ""))
    if arch.isidentifier() and not arch.startswith(names["backbone"]):
        names["backbone"] = arch  # backbone.arch chose another network than the one that the option is called after
    resolved = {str(key): value for key, value in (plain | {"names": names}).items()}
    check(resolved)
    return resolved


def check(config: Mapping[str, Any]) -> None:
    """Refuse values that no run can have, before anything is built or written.

    Raises:
        ValueError: the first such value, in one sentence.
    """
    flat = flatten(config)
    for key, (kind, low, high, others) in _RULES.items():
        if key not in flat and not key.startswith(_OF_OPTIONS):
            raise ValueError(f"{key} is missing and a run needs it: leave out ~{key}.")
        value = flat.get(key)
        if key in flat and not (any(value is other for other in others) or _fits(value, kind, low, high)):
            word = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}[kind]
            bounds = [
                f"at least {low}" if low is not None else "",
                f"at most {high}" if high is not None else "",
            ]
            rule = " and ".join(bound for bound in bounds if bound)
            raise ValueError(f"{key}={value}: expected {word}{' of ' + rule if rule else ''}.")
    for key, options in _CHOICES.items():
        if flat.get(key) not in options:
            raise ValueError(f"{key}={flat.get(key)}: expected one of {', '.join(options)}.")
    tasks, valid = config.get("tasks"), list(config["data"]["tasks"])
    if not isinstance(tasks, list) or not tasks:
        raise ValueError(
            f"tasks={tasks}: expected a list of some of {', '.join(valid)}, for example tasks=[{valid[0]}]."
        )
    for name in config["data"]["noise"]:
        if name not in valid:
            raise ValueError(
                f"data.noise.{name}: data={config['names']['data']} has no such task; it has {', '.join(valid)}."
            )
    for name in tasks:
        if name not in valid:
            raise ValueError(f"tasks: data={config['names']['data']} has no task '{name}'; it has {', '.join(valid)}.")
    if "/" in config["study"] or config["study"] in (".", "..", ""):
        raise ValueError(f"study={config['study']}: expected a plain folder name; runs_dir=PATH says where it lies.")


def _fits(value: Any, kind: type, low: float | None, high: float | None) -> bool:
    if kind in (bool, str):
        return isinstance(value, kind)
    kinds = (int, float) if kind is float else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    return (low is None or value >= low) and (high is None or value <= high) and value == value


def bind(node: Mapping[str, Any]) -> partial[Any]:
    """The class or function named by `_target_`, with the other keys of `node` bound to it.

    Raises:
        ValueError: there is no such class or function, or it does not take such a key.
    """
    try:
        arguments = instantiate({key: value for key, value in node.items() if key != "_target_"}, _convert_="all")
        target = get_object(node["_target_"])
        inspect.signature(target).bind_partial(**arguments)
    except (HydraException, ImportError, TypeError) as error:
        raise ValueError(f"{node['_target_']}: {first_line(error.__cause__ or error)}.") from error
    return partial(target, **arguments)
