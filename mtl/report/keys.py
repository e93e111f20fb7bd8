"""Config keys of a study: which tell its runs apart, and how a table calls them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

# What a method has a default of its own for, or does not have.
_OF_METHOD = ("control.lr", "control.heads")


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys that tell runs apart, the weighting's name excepted.

    A key of a group (`weighting.method.temperature`) is compared among runs of the same member only: that `dwa` has
    a temperature and `sum` none says nothing beyond their names. So are `control.lr`, the rate of a method's own
    parameters, which most methods do not have, and `control.heads`, whose default is that of the method's authors.
    """
    seen: dict[tuple[str, str], set[str]] = {}
    keys = dict.fromkeys(key for config in configs for key in config)
    for config in configs:
        for key in keys:
            group = "weighting" if key in _OF_METHOD else key.partition(".")[0]
            member = config.get(f"names.{group}", "")
            value = json.dumps(config[key], default=str) if key in config else ""
            seen.setdefault((key, member), set()).add(value)
    differing = {key for (key, _), values in seen.items() if len(values) > 1}
    return [key for key in keys if key in differing and key != "names.weighting"]


def columns(keys: Sequence[str], taken: set[str]) -> dict[str, str]:
    """Key -> its last part, or as many last parts as make it unique: `optimizer.lr` -> `lr`."""
    suffixes = {key: [key.split(".", n)[-1] for n in reversed(range(key.count(".") + 1))] for key in keys}
    count = Counter(suffix for of_key in suffixes.values() for suffix in of_key)
    return {key: next((s for s in of_key if count[s] == 1 and s not in taken), key) for key, of_key in suffixes.items()}


def shared(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Key -> value where all configs agree."""
    first = configs[0] if configs else {}
    return {key: value for key, value in first.items() if all(c.get(key, ...) == value for c in configs)}


def cell(value: Any) -> Any:
    """A config value as a table shows it: plain, lists joined, hashes cut to eight digits."""
    match value:
        case None:
            return "null"
        case list():
            return "+".join(map(str, value))
        case str() if len(value) == 64:
            return value[:8]
        case _:
            return value
