"""What makes two runs scientifically different: the keys that enter a run's name, and those that do not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Where a run is computed, stored and watched does not change what it is, nor do words about it; the seed is
# named apart.
_NOT_SCIENCE = (
    "seed",
    "study",
    "runs_dir",
    "mode",
    "logger",
    "names.logger",
    "names.train",
    "data.root",
    "data.cache",
    "data.workers",
    "backbone.channels_last",
    "train.device",
    "train.threads",
    "train.keep",
    "weighting.kind",
    "weighting.paper",
    "weighting.year",
    "weighting.uses",
)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping -> one level with dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def scientific(config: Mapping[str, Any]) -> dict[str, Any]:
    """Flat keys that decide a run's result, the seed apart."""
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value  # lr=1 and lr=1.0 are one run
        for key, value in flatten(config).items()
        if not any(key == name or key.startswith(f"{name}.") for name in _NOT_SCIENCE)
    }


def hash8(config: Mapping[str, Any]) -> str:
    """First 8 hex digits of the sha256 of the scientific keys, sorted, as JSON."""
    text = json.dumps(scientific(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def run_name(config: Mapping[str, Any]) -> str:
    """`<weighting>-<backbone>-<hash8>-s<seed>`; `config` is resolved and holds `data.fingerprint`."""
    names = config["names"]
    return f"{names['weighting']}-{names['backbone']}-{hash8(config)}-s{config['seed']}"
