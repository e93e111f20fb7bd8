"""torchvision's networks: which fit, where they are cut, and the stem for small pictures."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torchvision.models import get_model, list_models, regnet

from mtl.backbones.torchvision import Torchvision, advice, misfit
from mtl.config import CONF, bind, compose

BACKBONES = sorted(path.stem for path in (CONF / "backbone").glob("*.yaml"))
PREFIXES = (
    "resnet",
    "resnext",
    "wide_resnet",
    "mobilenet",
    "efficientnet",
    "convnext",
    "densenet",
    "regnet",
    "shuffle",
)
FITTING = [name for name in list_models() if name.startswith(PREFIXES)]
# One small network of each family, and how many of its parameters the cut takes away: a classifier of 1,000 classes.
SMALL = {
    "resnet18": 512 * 1000 + 1000,
    "mobilenet_v2": 1280 * 1000 + 1000,
    "mobilenet_v3_small": 576 * 1024 + 1024 + 1024 * 1000 + 1000,
    "efficientnet_b0": 1280 * 1000 + 1000,
    "convnext_tiny": 768 * 1000 + 1000,
    "densenet121": 1024 * 1000 + 1000,
    "regnet_y_400mf": 440 * 1000 + 1000,
    "shufflenet_v2_x0_5": 1024 * 1000 + 1000,
}


def second_convolution(network):
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)][1]


@pytest.fixture
def on_meta(monkeypatch):
    """Builds large networks without their memory; RegNet computes its widths with tensors, which need a device."""
    widths = regnet.BlockParams.from_init_params

    def computed(*args, **options):
        with torch.device("cpu"):
            return widths(*args, **options)

    monkeypatch.setattr(regnet.BlockParams, "from_init_params", computed)
    with torch.device("meta"), torch.no_grad():
        yield


def test_the_fitting_are_found():
    assert len(FITTING) >= 51
    assert [name for name in list_models() if misfit(name) is None] == FITTING


@pytest.mark.parametrize("stem", ["imagenet", "small"])
@pytest.mark.parametrize("arch", FITTING)
def test_every_fitting_network_gives_one_vector(arch, stem, on_meta):
    backbone = Torchvision(arch, None, stem).eval()
    sides = []
    second_convolution(backbone).register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))
    assert backbone(torch.empty(2, 3, 32, 32)).shape == (2, backbone.num_features)
    if stem == "small":
        assert sides == [32]
        assert not any(isinstance(layer, nn.MaxPool2d) for layer in backbone.modules())
    else:
        assert sides[0] < 32


@pytest.mark.parametrize("stem", ["imagenet", "small"])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_option_gives_the_promised_width(name, stem):
    backbone = bind(compose([f"backbone={name}", f"backbone.stem={stem}"])["backbone"])().eval()
    with torch.no_grad():
        assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, backbone.num_features)


@pytest.mark.parametrize("arch", SMALL)
def test_the_cut_layers_on_our_features_are_torchvisions_network(arch, tmp_path):
    """Weights and cut at once: what was cut off, applied to our features, gives torchvision's own output."""
    whole = get_model(arch, weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    ours = Torchvision(arch, str(tmp_path / "weights.pth"), "imagenet").eval()
    count = [sum(p.numel() for p in network.parameters()) for network in (whole, ours)]
    assert count[0] - count[1] == SMALL[arch]
    classifier = whole.fc if hasattr(whole, "fc") else whole.classifier
    layers = list(classifier) if isinstance(classifier, nn.Sequential) else [classifier]
    first = next(place for place, layer in enumerate(layers) if isinstance(layer, nn.Linear))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(nn.Sequential(*layers[first:])(ours(images)), whole(images))


@pytest.mark.parametrize("arch", SMALL)
def test_small_stem_keeps_what_was_loaded(arch, tmp_path):
    """All but a first layer that had to be replaced, which starts anew."""
    torch.save(get_model(arch, weights=None).state_dict(), tmp_path / "weights.pth")
    imagenet, small = (Torchvision(arch, str(tmp_path / "weights.pth"), stem) for stem in ("imagenet", "small"))
    stored, own = imagenet.state_dict(), small.state_dict()
    assert own.keys() == stored.keys()
    changed = {
        name for name in own if own[name].shape != stored[name].shape or not torch.equal(own[name], stored[name])
    }
    replaced = {
        "resnet18": {"network.conv1.weight"},
        "densenet121": {"network.features.conv0.weight"},
        "convnext_tiny": {"network.features.0.0.weight", "network.features.0.0.bias"},
    }
    assert changed <= replaced.get(arch, set())
    assert bool(changed) == (arch in replaced)


@pytest.mark.parametrize(
    ("arch", "deviation"),
    [
        ("resnet18", math.sqrt(2 / (64 * 9))),  # He et al. 2015, by the 64 filters
        ("densenet121", math.sqrt(2 / (3 * 9))),  # by the three colours
        ("convnext_tiny", 0.02),
    ],
)
def test_a_new_first_layer_starts_as_torchvision_starts_it(arch, deviation):
    first = next(layer for layer in Torchvision(arch, None, "small").modules() if isinstance(layer, nn.Conv2d))
    assert (first.kernel_size, first.stride, first.padding) == ((3, 3), (1, 1), (1, 1))
    assert first.weight.std().item() == pytest.approx(deviation, rel=0.1)
    assert first.bias is None or not first.bias.any()


@pytest.mark.parametrize(
    ("arch", "words"),
    [
        ("vit_b_16", "made for pictures of one size, 224 px"),
        ("maxvit_t", "made for pictures of one size, 224 px"),
        ("swin_t", "windows"),
        ("inception_v3", "75 px"),
        ("googlenet", "two more classifiers"),
        ("squeezenet1_1", "no feature vector"),
        ("vgg11", "25,088"),
        ("alexnet", "9,216"),
        ("mnasnet1_0", "BatchNorm"),
        ("fasterrcnn_resnet50_fpn", "finds objects"),
        ("fcn_resnet50", "labels pixels"),
        ("r3d_18", "videos"),
        ("raft_small", "pairs of pictures"),
        ("quantized_resnet18", "whole numbers"),
    ],
)
def test_refused_by_name(arch, words):
    with pytest.raises(ValueError, match=words) as raised:
        Torchvision(arch, None, "imagenet")
    sentence = str(raised.value)
    assert sentence.startswith(f"backbone.arch={arch}: ")
    assert sentence.endswith("regnet and shufflenet, for example resnet18.")
    assert advice(arch) == misfit(arch)


def test_every_other_network_is_refused_with_its_reason():
    """Not with the answer to a family that nobody has looked at."""
    others = set(list_models()) - set(FITTING)
    assert len(others) >= 60
    assert not [name for name in others if "not been tried" in misfit(name)]


def test_unknown_names():
    with pytest.raises(
        ValueError, match=r"^backbone\.arch=resnet19: torchvision has no such network; did you mean resn"
    ):
        Torchvision("resnet19", None, "imagenet")
    assert "did you mean vit" not in misfit("vit_b_17")
    assert advice("resnet19") is None
    assert advice("regnet_x_800mf") == "write backbone=torchvision backbone.arch=regnet_x_800mf"


def test_unknown_stem():
    with pytest.raises(ValueError, match=r"^backbone\.stem=tiny: expected imagenet or small\.$"):
        Torchvision("resnet18", None, "tiny")


def test_vgg_is_as_wide_as_we_say(on_meta):
    assert get_model("vgg11").classifier[0].in_features == 25088
    assert get_model("alexnet").classifier[1].in_features == 9216


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small", "regnet_y_400mf"])
def test_channels_last_is_the_same_network(arch):
    """The layers work in the other layout; features and gradients agree up to rounding, gradients keep their layout."""
    results = []
    pictures = torch.randn(4, 3, 32, 32)
    for channels_last in (False, True):
        torch.manual_seed(0)
        backbone = Torchvision(arch, None, "imagenet", channels_last).eval()
        layouts = []
        second_convolution(backbone).register_forward_pre_hook(
            lambda _, inputs, seen=layouts: seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
        )
        features = backbone(pictures)
        features.square().sum().backward()
        assert layouts == [channels_last]
        assert all(p.grad.is_contiguous() for p in backbone.parameters())
        results.append([features, *(p.grad for p in backbone.parameters())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * one.abs().max().item())
