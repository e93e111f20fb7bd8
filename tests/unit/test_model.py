"""The network: one backbone pass, heads, seeds per module, and which layer is the last shared one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mtl.config import bind, compose
from mtl.heads.mlp import MLP
from mtl.model import build_model, module_seed


class Counting(nn.Module):
    num_features = 4

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3 * 4 * 4, 4)
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        return self.layer(images.flatten(1))


def test_backbone_runs_once(tasks):
    model = build_model(tasks, Counting, nn.Linear, 0)
    features, outputs = model(torch.zeros(2, 3, 4, 4))
    assert model.backbone.calls == 1
    assert features.shape == (2, 4)
    assert [output.shape for output in outputs] == [(2, 1), (2, 1), (2, 5)]


def test_single_task_head_starts_as_in_the_multi_task_run(make_tasks):
    """Backbone and head of a single-task run are those of the multi-task run, whatever stands before them."""
    together = build_model(make_tasks(), Counting, nn.Linear, 5)
    for name in ("age", "sick", "species"):
        alone = build_model(make_tasks([name]), Counting, nn.Linear, 5)
        assert torch.equal(alone.heads[name].weight, together.heads[name].weight)
        assert torch.equal(alone.backbone.layer.weight, together.backbone.layer.weight)


def test_seeds_and_names_differ(tasks):
    one, two = (build_model(tasks, Counting, nn.Linear, seed) for seed in (0, 1))
    assert not torch.equal(one.backbone.layer.weight, two.backbone.layer.weight)
    assert not torch.equal(one.heads["age"].weight, two.heads["age"].weight)
    assert not torch.equal(one.heads["age"].weight, one.heads["sick"].weight)


def test_module_seed_leaves_the_global_generator(tasks):
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    build_model(tasks, Counting, nn.Linear, 0)
    assert torch.equal(torch.rand(4), wanted)
    torch.manual_seed(8)
    with module_seed(0, "backbone"):
        one = torch.rand(2)
    torch.manual_seed(9)
    with module_seed(0, "backbone"):
        assert torch.equal(torch.rand(2), one)


def test_parameter_lists(bench):
    model = bench.model
    shared = model.shared_parameters()
    assert [id(p) for p in shared] == [id(p) for p in model.backbone.parameters()]
    assert [len(head) for head in model.head_parameters()] == [2, 2, 2]
    assert [id(p) for p in model.last_shared_parameters()] == [id(p) for p in model.backbone.last.parameters()]
    model.backbone.first.requires_grad_(False)
    model.heads["age"].bias.requires_grad_(False)
    assert len(model.shared_parameters()) == len(shared) - 1
    assert [len(head) for head in model.head_parameters()] == [1, 2, 2]


@pytest.mark.parametrize(
    ("name", "wanted"), [("resnet18", "layer4.1.conv2.weight"), ("mobilenet", "features.12.0.weight")]
)
def test_last_shared_layer_is_the_last_convolution(make_tasks, name, wanted):
    model = build_model(make_tasks(["sick"]), bind(compose([f"backbone={name}"])["backbone"]), nn.Linear, 0)
    (last,) = model.last_shared_parameters()
    assert last is dict(model.backbone.network.named_parameters())[wanted]


def test_heads_of_the_yaml_files():
    mlp = bind({key: value for key, value in compose(["head=mlp"])["head"].items() if key != "binary_outputs"})(6, 5)
    assert [tuple(p.shape) for p in mlp.parameters()] == [(256, 6), (256,), (5, 256), (5,)]
    assert mlp(torch.zeros(2, 6)).shape == (2, 5)
    linear = bind({key: value for key, value in compose(["head=linear"])["head"].items() if key != "binary_outputs"})(
        6, 5
    )
    assert [tuple(p.shape) for p in linear.parameters()] == [(5, 6), (5,)]


def test_mlp_is_not_linear():
    mlp = MLP(2, 1, 64)
    ends = mlp(torch.tensor([[-3.0, 0.0], [3.0, 0.0]])).mean()
    assert abs(mlp(torch.zeros(1, 2)).item() - ends.item()) > 1e-3


def test_mlp_refuses():
    with pytest.raises(ValueError, match=r"head\.hidden=0: expected at least 1\."):
        MLP(4, 1, 0)
