"""torchvision's convolutional networks without their classifiers, and why its other networks do not fit."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mtl.backbones.pretrained import load_weights

# A family is the module of torchvision.models that makes it; `resnet` makes resnext and wide_resnet, too.
_FAMILIES = ("resnet", "mobilenetv2", "mobilenetv3", "efficientnet", "convnext", "densenet", "regnet", "shufflenetv2")
_NAMES = "resnet, resnext, wide_resnet, mobilenet, efficientnet, convnext, densenet, regnet and shufflenet"
_REASONS = {
    "vision_transformer": "it is made for pictures of one size, 224 px",
    "maxvit": "it is made for pictures of one size, 224 px",
    "swin_transformer": "its windows are 28 px wide and more, most of them padding on small pictures",
    "inception": "it needs pictures of 75 px and has a second classifier, which it trains beside the first",
    "googlenet": "it has two more classifiers, which it trains beside the first",
    "squeezenet": "its classifier is a convolution, before which there is no feature vector",
    "vgg": "it gives no pooled features but a grid of 7 x 7 x 512 = 25,088 numbers",
    "alexnet": "it gives no pooled features but a grid of 6 x 6 x 256 = 9,216 numbers",
    "mnasnet": "its BatchNorm averages over some 3,000 steps, more than most runs have",
    "detection": "it finds objects, and has no classifier to cut off",
    "segmentation": "it labels pixels, and has no classifier to cut off",
    "video": "it is made for videos",
    "optical_flow": "it is made for pairs of pictures",
    "quantization": "its weights are whole numbers, which cannot be trained",
}
# How torchvision draws the first convolution, in the families where it is larger than 3x3.
_DRAW: dict[str, Callable[[Tensor], Tensor]] = {
    "resnet": partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu"),
    "densenet": nn.init.kaiming_normal_,
    "convnext": partial(nn.init.trunc_normal_, std=0.02),
}


class Torchvision(nn.Module):
    """A network of torchvision cut before its (first) linear layer; pictures [B, 3, S, S] -> features [B, D].

    Normalisation that stands before that layer is kept (ConvNeXt's), dropout is not.

    Args:
        arch: torchvision's name of the network, of a family whose features are one pooled vector.
        weights: see `mtl.backbones.pretrained.load_weights`; read before the stem is changed.
        stem: `imagenet`, as torchvision has it, or `small`, for pictures of some 32 px, which halves nothing in the
            stem (He et al., CVPR 2016, section 4.2): the first convolution has stride 1, one larger than 3x3 becomes a
            3x3 one that starts anew whatever `weights` is, and there is no max pooling.
        channels_last: lay pictures out as [B, S, S, 3] in memory, in which some networks are several times as fast.
            Only the input: all layers follow it, and parameters and their gradients keep one layout.

    Raises:
        ValueError: `arch` does not fit, or there is no such stem or file of weights.
    """

    def __init__(self, arch: str, weights: str | None, stem: str, channels_last: bool = False) -> None:
        super().__init__()
        from torchvision.models import get_model

        if stem not in ("imagenet", "small"):
            raise ValueError(f"backbone.stem={stem}: expected imagenet or small.")
        if problem := misfit(arch):
            raise ValueError(f"backbone.arch={arch}: {problem}.")
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network = get_model(arch, weights=None)
        self.num_features: int = _cut(self.network)
        load_weights(self.network, arch, weights)
        if stem == "small":
            _shrink_stem(self.network, _family(arch))

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, D]."""
        features: Tensor = self.network(images.contiguous(memory_format=self.layout))
        return features


def misfit(arch: str) -> str | None:
    """Why the network `arch` is no backbone and what to use, or None if it is one."""
    from torchvision.models import list_models

    known = list_models()
    if arch not in known:
        close = difflib.get_close_matches(arch, [name for name in known if _family(name) in _FAMILIES], 1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"torchvision has no such network; {hint}expected one of the families {_NAMES}"
    family = _family(arch)
    if family in _FAMILIES:
        return None
    reason = _REASONS.get(family, "its family has not been tried")
    return f"{reason}; expected one of the families {_NAMES}, for example resnet18"


def advice(name: str) -> str | None:
    """The answer to `backbone=<name>` where there is no such option but torchvision has a network `name`; else None."""
    from torchvision.models import list_models

    if name not in list_models():
        return None
    return misfit(name) or f"write backbone=torchvision backbone.arch={name}"


def _family(arch: str) -> str:
    """The part of torchvision.models that makes `arch`: torchvision.models.detection.fcos -> detection."""
    from torchvision.models import get_model_builder

    return str(get_model_builder(arch).__module__).split(".")[2]


def _cut(network: Any) -> int:
    """Remove the first linear layer of the classifier and all behind it; the number of its inputs."""
    name = "fc" if hasattr(network, "fc") else "classifier"
    classifier = getattr(network, name)
    layers: list[Any] = list(classifier) if isinstance(classifier, nn.Sequential) else [classifier]
    first = next(place for place, layer in enumerate(layers) if isinstance(layer, nn.Linear))
    setattr(network, name, nn.Sequential(*(layer for layer in layers[:first] if not isinstance(layer, nn.Dropout))))
    num_features: int = layers[first].in_features
    return num_features


def _shrink_stem(network: nn.Module, family: str) -> None:
    """The stem for small pictures, in place."""
    name, first = next((name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
    if max(first.kernel_size) > 3:
        bias = first.bias is not None
        first = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=bias)
        _DRAW[family](first.weight)
        if first.bias is not None:
            nn.init.zeros_(first.bias)
        network.set_submodule(name, first)
    first.stride = (1, 1)
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.MaxPool2d):
            network.set_submodule(name, nn.Identity())
