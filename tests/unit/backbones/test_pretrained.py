"""Starting weights: a local file, the wrong file, half a file, and no network."""

from __future__ import annotations

import re
import socket

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from mtl.backbones.pretrained import load_weights
from mtl.backbones.torchvision import Torchvision


def mobilenet(weights):
    return Torchvision("mobilenet_v3_small", weights, "imagenet")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """torchvision's own state dictionary with the classifier, as one downloads it."""
    path = tmp_path_factory.mktemp("weights") / "mobilenet.pth"
    torch.manual_seed(5)
    network = get_model("mobilenet_v3_small", weights=None)
    torch.save(network.state_dict(), path)
    return path


def test_local_file(weights):
    stored = torch.load(weights, weights_only=True)
    backbone = mobilenet(str(weights))
    own = backbone.network.state_dict()
    assert all(torch.equal(own[name], stored[name]) for name in own)
    assert "classifier.0.weight" in stored  # and was ignored


def test_home_is_understood(weights, monkeypatch):
    monkeypatch.setenv("HOME", str(weights.parent))
    mobilenet(f"~/{weights.name}")


def test_names_that_densenet_had_before(tmp_path):
    """torchvision's own file has norm.1 and conv.2 where its code has norm1 and conv2."""
    network = get_model("densenet121", weights=None)
    new = network.state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value for name, value in new.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "weights.pth")
    own = Torchvision("densenet121", str(tmp_path / "weights.pth"), "imagenet").network.state_dict()
    assert len(own) > 600
    assert all(torch.equal(own[name], new[name]) for name in own)


def test_statistics_are_loaded(tmp_path):
    """BatchNorm's count of batches is no part of older files: it stays as it starts."""
    network = get_model("mobilenet_v2", weights=None)
    network(torch.randn(2, 3, 32, 32))
    stored = network.state_dict()
    old = {name: value for name, value in stored.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "weights.pth")
    own = Torchvision("mobilenet_v2", str(tmp_path / "weights.pth"), "imagenet").network.state_dict()
    assert all(torch.equal(own[name], old[name]) for name in own if name in old)
    assert own["features.0.1.running_mean"].any()
    assert {value.item() for name, value in own.items() if name not in old} == {0}


def test_null_is_a_random_start():
    torch.manual_seed(1)
    one = mobilenet(None).network.state_dict()
    torch.manual_seed(2)
    two = mobilenet(None).network.state_dict()
    assert any(not torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"there is no such file; expected null, imagenet or a file\."),
        (b"", r"not a readable PyTorch state dictionary"),
        (b"<html>404</html>", r"not a readable PyTorch state dictionary"),
        (b"PK\x03\x04 and no more", r"not a readable PyTorch state dictionary"),
        (b"\x80\x02", r"not a readable PyTorch state dictionary"),
        (bytes(200), r"not a readable PyTorch state dictionary"),
    ],
    ids=["none", "empty", "html", "half a zip", "half a pickle", "zeros"],
)
def test_unreadable(tmp_path, content, sentence):
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as raised:
        mobilenet(str(path))
    assert str(raised.value).startswith(f"backbone.weights={path}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_half_a_file(weights, tmp_path, share):
    """A download that broke off."""
    whole = weights.read_bytes()
    path = tmp_path / "half.pth"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match="not a readable PyTorch state dictionary"):
        mobilenet(str(path))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        mobilenet(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda: nn.Linear(2, 2).state_dict(), r"this is no state dictionary of resnet18, it lacks conv1\.weight\."),
        (lambda: {"epoch": 3, "model": {}}, r"no state dictionary of resnet18, it lacks conv1\.weight\."),
        (lambda: torch.zeros(3), r"expected a state dictionary, found Tensor\."),
        (lambda: [1, 2], r"expected a state dictionary, found list\."),
    ],
    ids=["another network", "a checkpoint", "a tensor", "a list"],
)
def test_wrong_content(tmp_path, content, sentence):
    path = tmp_path / "weights.pth"
    torch.save(content(), path)
    with pytest.raises(ValueError, match=sentence):
        load_weights(get_model("resnet18", weights=None), "resnet18", str(path))


def test_another_size_of_the_same_family(tmp_path):
    """All names are there, the shapes are another network's: the first of them is named."""
    path = tmp_path / "weights.pth"
    with torch.device("meta"):
        network = get_model("resnet18", weights=None)
    names = list(network.state_dict())
    torch.save(dict.fromkeys(names, torch.zeros(1)), path)
    with pytest.raises(ValueError, match=r"has another shape of conv1\.weight\."):
        load_weights(network, "resnet18", str(path))


def test_code_in_a_file_is_not_run(tmp_path):
    """`weights_only`: a pickle that calls something is refused."""

    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": Evil()}, path)
    with pytest.raises(ValueError, match="not a readable PyTorch state dictionary") as raised:
        mobilenet(str(path))
    assert "\n" not in str(raised.value)


def test_imagenet_without_a_network(tmp_path, monkeypatch):
    """The proxy is a local port that nobody listens to: refused at once, whatever network there is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        ValueError,
        match=r"backbone\.weights=imagenet: the weights of mobilenet_v3_small could not be downloaded \(.*\); fetch https://",
    ) as raised:
        mobilenet("imagenet")
    assert "pass backbone.weights=PATH_OF_THE_FILE." in str(raised.value)
    assert "\n" not in str(raised.value)


def test_imagenet_from_torchs_own_cache(tmp_path, monkeypatch, weights):
    """What was downloaded once is found again without a network."""
    from torchvision.models import get_model_weights

    url = get_model_weights("mobilenet_v3_small").DEFAULT.url
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / url.rsplit("/", 1)[1]).write_bytes(weights.read_bytes())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    stored = torch.load(weights, weights_only=True)
    assert torch.equal(
        mobilenet("imagenet").network.state_dict()["features.0.0.weight"],
        stored["features.0.0.weight"],
    )
