"""What a search varies, from a config: learning rates, weight decay, and what a weighting's YAML has under `search`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_AROUND = 10.0  # rates and weight decay: from a tenth to ten times of what the config has
_EDGE = 0.03  # share of a range that counts as its edge


def space(config: Mapping[str, Any], learnt: bool) -> dict[str, tuple[BaseDistribution, Any]]:
    """Key of the config -> (range, the config's own value) of all that is searched for its weighting.

    Learning rate and weight decay, `control.lr` if the method has learnt parameters, and what its YAML has under
    `search`: `{low, high}`, with `log: true` for a logarithmic range and `per: task` for one number per task but the
    first; or `{choices: [...]}`. A range of two whole numbers is one of whole numbers.

    Raises:
        ValueError: a range that cannot be read, one of no hyperparameter of the method, or one without the own value.
    """
    keys = {"optimizer.lr": config["optimizer"]["lr"], "optimizer.weight_decay": config["optimizer"]["weight_decay"]}
    if learnt:
        keys["control.lr"] = config["control"]["lr"]
    found = {
        key: (_range(key, {"low": short(value / _AROUND), "high": short(value * _AROUND), "log": True}), value)
        for key, value in keys.items()
        if value > 0  # no weight decay has no neighbourhood
    }
    for node in ("weighting", "prescale"):
        for name, spec in ((config.get(node) or {}).get("search") or {}).items():
            method = {key: value for key, value in config[node]["method"].items() if key != "_target_"}
            if name not in method:
                raise ValueError(
                    f"{node}.search.{name}: the method has no such hyperparameter, only {', '.join(method) or 'none'}."
                )
            key, value = f"{node}.method.{name}", method[name]
            if isinstance(spec, Mapping) and spec.get("per") == "task":
                spec = {word: bound for word, bound in spec.items() if word != "per"}
                for task in config["tasks"][1:]:
                    found[f"{key}.{task}"] = _range(key, spec), float((value or {}).get(task, 1.0))
            else:
                found[key] = _range(key, spec), value
    for key, (distribution, value) in found.items():
        if not _within(distribution, value):
            raise ValueError(
                f"{key}={value}: outside of the range that is searched, and the first trial is the config as it is; "
                "change the value, or the range in weighting.search."
            )
    return found


def _range(key: str, spec: Any) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    try:
        if "choices" in spec:
            return CategoricalDistribution(**spec)
        whole = isinstance(spec["low"], int) and isinstance(spec["high"], int)
        return (IntDistribution if whole else FloatDistribution)(**spec)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"search range of {key}: {spec} is none; expected low and high (and log: true), or choices: [...]."
        ) from error


def _within(distribution: BaseDistribution, value: Any) -> bool:
    bounds = bounds_of(distribution)
    if bounds is None:
        return value in distribution.choices  # type: ignore[attr-defined]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and bounds[0] <= value <= bounds[1]


def bounds_of(distribution: BaseDistribution) -> tuple[float, float, bool] | None:
    """(low, high, logarithmic); None where there are choices."""
    from optuna.distributions import FloatDistribution, IntDistribution

    if isinstance(distribution, FloatDistribution | IntDistribution):
        return distribution.low, distribution.high, distribution.log
    return None


def at_edge(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a number lies so close to an end of its range that the best one may lie outside."""
    bounds = bounds_of(distribution)
    if bounds is None or bounds[0] == bounds[1]:
        return False
    low, high, log = bounds
    if log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return not _EDGE < (value - low) / (high - low) < 1 - _EDGE


def short(value: float) -> float:
    """`value` to four digits, as overrides have it."""
    return float(f"{value:.4g}")


def words(params: Mapping[str, Any]) -> list[str]:
    """`params` as overrides of run.py."""
    texts = {
        key: "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in params.items()
    }
    # weighting.method.weights.age: a key that need not be there yet.
    return [f"{'++' if key.count('.') == 3 else ''}{key}={text}" for key, text in texts.items()]
