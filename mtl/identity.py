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
    "max_hours",
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
    "train.probe",
    "weighting.kind",
    "weighting.paper",
    "weighting.year",
    "weighting.uses",
    "weighting.passes",
    "weighting.same_as",
    "weighting.from_run",
    "weighting.search",
    "prescale.kind",
    "prescale.paper",
    "prescale.year",
    "prescale.uses",
    "prescale.passes",
    "prescale.same_as",
    "prescale.from_run",
    "prescale.search",
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
    flat = flatten(config)
    # A replay's weights follow from the run that they are from, and differ between its seeds.
    left_out = (*_NOT_SCIENCE, *(["weighting.method.weights"] if "weighting.replay_of" in flat else []))
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value  # lr=1 and lr=1.0 are one run
        for key, value in flat.items()
        if not any(key == name or key.startswith(f"{name}.") for name in left_out)
    }


def hash8(config: Mapping[str, Any]) -> str:
    """First 8 hex digits of the sha256 of the scientific keys, sorted, as JSON."""
    text = json.dumps(scientific(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def run_name(config: Mapping[str, Any]) -> str:
    """`<weighting>-<backbone>-<hash8>-s<seed>`; `config` is resolved and holds `data.fingerprint`."""
    names = config["names"]
    return f"{names['weighting']}-{names['backbone']}-{hash8(config)}-s{config['seed']}"
