"""What is built before any data are read: options arrive, too small pictures are refused, and nothing is moved."""

from __future__ import annotations

import pytest
import torch

from mtl import build
from mtl.build import build_parts


@pytest.mark.parametrize("backbone", ["convnext_tiny", "densenet121"])
def test_pictures_too_small_for_the_network(backbone, tiny_config):
    with pytest.raises(ValueError, match="cannot take pictures that small") as raised:
        build_parts(tiny_config(f"backbone={backbone}"))
    sentence = str(raised.value)
    assert sentence.startswith(f"data.image_size=16: {backbone} ")
    assert sentence.endswith("; give data.image_size=32 or more or backbone.stem=small.")
    assert "\n" not in sentence


@pytest.mark.parametrize("way_out", ["data.image_size=32", "backbone.stem=small"])
@pytest.mark.parametrize("backbone", ["convnext_tiny", "densenet121"])
def test_both_ways_out_are_ways_out(backbone, way_out, tiny_config):
    build_parts(tiny_config(f"backbone={backbone}", way_out))


def test_with_the_small_stem_only_the_size_is_to_blame(tiny_config):
    """A stem that is small already is no advice."""
    config = tiny_config("backbone.stem=small")
    config["data"]["image_size"] = 0
    with pytest.raises(ValueError, match=r"or more\.$"):
        build_parts(config)


def test_the_try_leaves_no_trace(tiny_config, monkeypatch):
    """Statistics, mode and the global generator: the run is the one that it is without the try."""
    config = tiny_config()
    before = torch.get_rng_state()
    tried = build_parts(config).model
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in tried.modules())
    monkeypatch.setattr(build, "_check_size", lambda model, config: None)
    for one, other in zip(tried.state_dict().items(), build_parts(config).model.state_dict().items(), strict=True):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1])


def test_loss_options_arrive(tiny_config):
    """A sure and right answer with a tenth of its label elsewhere; an error of ten years, five of them squared."""
    age, sick, species = build_parts(
        tiny_config("label_smoothing=0.2", "age_target=raw", "age_target.loss=smooth_l1")
    ).tasks
    one = torch.ones(1, dtype=torch.bool)
    assert sick.loss(torch.tensor([[50.0]]), torch.ones(1), one).item() == pytest.approx(50 * 0.1)
    assert species.loss(torch.tensor([[0, 50.0, 0, 0, 0]]), torch.ones(1), one).item() == pytest.approx(50 * 0.16)
    assert age.loss(torch.tensor([[30.0]]), torch.tensor([20.0]), one).item() == 10 - 5 / 2
