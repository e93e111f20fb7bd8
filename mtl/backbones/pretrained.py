"""Starting weights of a backbone: none, torchvision's ImageNet weights, or a local file."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

# torchvision's DenseNet weights are stored under names that its code has not had since 2018: norm.1 for norm1.
_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])")


def load_weights(network: nn.Module, arch: str, weights: str | None) -> None:
    """Load `weights` into `network`, a torchvision network without its classifier.

    Args:
        weights: None (random start), `imagenet` (torchvision's default weights, downloaded once), or the path of a
            state dictionary in torchvision's names; classifier entries in it are ignored.

    Raises:
        ValueError: the weights cannot be downloaded, or the file is missing, unreadable or of another network.
    """
    if weights is None:
        return
    state = _download(arch) if weights == "imagenet" else _read(weights)
    state = {_LAYER.sub(r"\1\2", str(name)): value for name, value in state.items()}
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    wrong = [name for name in wanted if name in state and state[name].shape != wanted[name].shape]
    if missing or wrong:
        what = f"lacks {missing[0]}" if missing else f"has another shape of {wrong[0]}"
        raise ValueError(f"backbone.weights={weights}: this is no state dictionary of {arch}, it {what}.")
    network.load_state_dict(wanted | {name: state[name] for name in wanted if name in state})


def _download(arch: str) -> dict[str, Tensor]:
    from torchvision.models import get_model_weights

    weights: Any = get_model_weights(arch).DEFAULT
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise ValueError(
            f"backbone.weights=imagenet: the weights of {arch} could not be downloaded ({reason}); fetch "
            f"{weights.url} on a machine with network access and pass backbone.weights=PATH_OF_THE_FILE."
        ) from error
    return state


def _read(weights: str) -> dict[str, Tensor]:
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ValueError(f"backbone.weights={weights}: there is no such file; expected null, imagenet or a file.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        # torch's own words on a file that is no such pickle advise to load it unsafely.
        unsafe = isinstance(error, pickle.UnpicklingError)
        reason = "not tensors alone" if unsafe else (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"backbone.weights={weights}: not a readable PyTorch state dictionary ({reason}).") from error
    if not isinstance(state, dict):
        raise ValueError(f"backbone.weights={weights}: expected a state dictionary, found {type(state).__name__}.")
    return state
