"""What must hold for every YAML in conf/weighting: a new option is tested without registration."""

from __future__ import annotations

import io
import math

import pytest
import torch
from torch import Tensor

from mtl.config import CONF, compose
from mtl.weighting.control import Control
from mtl.weighting.step import Step

METRICS = {"age": {"mae_years": 9.0}, "sick": {"accuracy": 0.7}, "species": {"accuracy": 0.5}}


def age_state(method, names):
    """Two epochs of history and distinct own parameters, both by task name."""
    order = [["age", "sick", "species"].index(name) for name in names]
    for mean in ([0.3, 0.7, 1.6], [0.2, 0.69, 1.0]):
        method.end_epoch(torch.tensor(mean, dtype=torch.float64)[order], {name: METRICS[name] for name in names})
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.dim() and len(parameter) == len(names):
                parameter.copy_(torch.tensor([-0.4, 0.1, 0.9])[order].view(-1, *[1] * (parameter.dim() - 1)))


def draw_weights(method, make_step, seed) -> Tensor:
    torch.manual_seed(seed)
    return method.backward(make_step()).double()


def copy_of_state(module):
    """`state_dict` through a file, as a checkpoint takes it."""
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def same(one, two) -> bool:
    if isinstance(one, Tensor):
        return isinstance(two, Tensor) and torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return one == two


def test_there_are_weightings():
    names = {path.stem for path in (CONF / "weighting").glob("*.yaml")}
    assert {"sum", "mean", "constant", "uncertainty", "uncertainty_untyped", "dwa", "rlw", "pcgrad"} <= names


def test_yaml_says_what_the_method_is(weighting_name, make_weighting, tasks):
    """The catalogue of methods is read from these keys."""
    node = compose([f"weighting={weighting_name}"])["weighting"]
    kind = make_weighting(weighting_name, tasks).kind
    # By what it costs: GradNorm sends weighted losses into the network and needs gradients for the weights.
    assert node["kind"] == ("gradient-based" if "gradients" in node["uses"] else "loss-based")
    assert set(node["uses"]) <= {"training losses", "training metrics", "gradients", "further batches"}
    assert "gradients" in node["uses"] or kind == "total"
    assert (node["paper"] is None) == (node["year"] is None)
    assert node["paper"] is None or str(node["year"]) in node["paper"]
    first = (CONF / "weighting" / f"{weighting_name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# ")


@pytest.mark.parametrize("inactive", [[], ["sick"]])
def test_weights_reproduce_the_shared_gradient(weighting_name, make_weighting, bench, inactive):
    """sum_k w_k grad_k is what lies in `.grad`, up to the residual where a method has one."""
    method = make_weighting(weighting_name, bench.tasks)
    age_state(method, [task.name for task in bench.tasks])
    weights = method.backward(bench.step(inactive))
    gradient = bench.shared_gradient()
    difference = torch.linalg.vector_norm(weights @ bench.rows() - gradient) / torch.linalg.vector_norm(gradient)
    residual = 0.0 if method.residual is None else method.residual.item()
    assert difference.item() == pytest.approx(residual, abs=1e-5)
    assert torch.isfinite(weights).all()
    assert weights.dtype == torch.float32
    assert not weights.requires_grad


def test_task_order_does_not_matter(weighting_name, make_weighting, make_tasks, linear_step):
    """Permuted tasks get permuted weights: exactly, or on average where the method draws random numbers."""
    rows = torch.tensor([[1.0, 0.2, 0.0], [-0.7, 0.5, 0.1], [0.1, -0.6, 0.8]])
    values, names, order = [0.2, 0.69, 1.6], ["age", "sick", "species"], [2, 0, 1]
    methods = [make_weighting(weighting_name, make_tasks(n)) for n in (names, [names[k] for k in order])]
    for method in methods:
        age_state(method, [task.name for task in method.tasks])
    steps = [
        lambda: linear_step(rows, values),
        lambda: linear_step(rows[order], [values[k] for k in order]),
    ]
    draws = [draw_weights(methods[0], steps[0], seed) for seed in range(8)]
    if all(torch.equal(draw, draws[0]) for draw in draws):
        torch.testing.assert_close(draw_weights(methods[1], steps[1], 0), draws[0][order], rtol=1e-5, atol=1e-6)
        return
    number = 300
    one, two = (
        torch.stack([draw_weights(method, step, 1000 * i + seed) for seed in range(number)])
        for i, (method, step) in enumerate(zip(methods, steps, strict=True))
    )
    error = ((one.var(0)[order] + two.var(0)) / number).sqrt()
    assert ((two.mean(0) - one.mean(0)[order]).abs() <= 4 * error + 1e-6).all()


def test_inactive_task_is_as_if_it_were_not_there(weighting_name, make_weighting, make_tasks, linear_step):
    """The active tasks get the weights that they get in a run of their own; the inactive one gets 0."""
    rows, values = torch.tensor([[1.0, 0.2], [-0.7, 0.5], [0.1, -0.6]]), [0.2, 0.69, 1.6]
    names, kept = ["age", "sick", "species"], [0, 2]
    method = make_weighting(weighting_name, make_tasks(names))
    alone = make_weighting(weighting_name, make_tasks([names[k] for k in kept]))
    for mean in ([0.3, 0.7, 1.6], [0.2, 0.69, 1.0]):
        means = torch.tensor(mean, dtype=torch.float64)
        method.end_epoch(means, METRICS)
        alone.end_epoch(means[kept], {names[k]: METRICS[names[k]] for k in kept})
    weights = draw_weights(method, lambda: linear_step(rows, values, [True, False, True]), 4)
    wanted = draw_weights(alone, lambda: linear_step(rows[kept], [values[k] for k in kept]), 4)
    assert weights[1] == 0
    torch.testing.assert_close(weights[kept], wanted)


def train(method, optimizer, bench, inactive=()):
    optimizer.zero_grad(set_to_none=True)
    step = bench.step(inactive)
    weights = method.backward(step)
    optimizer.step()
    method.after_step(step)
    return weights


def everything(method, bench):
    return torch.optim.AdamW([*bench.model.parameters(), *method.parameters()], lr=0.05, weight_decay=0.1)


def per_task_entries(method, position):
    """What the method keeps for the task at `position`: entries of its tensors, and of its lists, of length K."""
    found = []

    def look(value):
        if isinstance(value, Tensor):
            for axis, size in enumerate(value.shape):
                if size == len(method.tasks):
                    found.append(value.select(axis, position).detach().clone())
        elif isinstance(value, dict):
            for item in value.values():
                look(item)
        elif isinstance(value, list | tuple):
            look(torch.tensor(value)) if value and isinstance(value[0], float) else [look(item) for item in value]

    look(method.state_dict())
    return found


def test_inactive_task_does_not_move(weighting_name, make_weighting, bench):
    """With AdamW's momentum: neither its head, nor what the method learns for it, nor what it remembers of it."""
    method = make_weighting(weighting_name, bench.tasks)
    optimizer = everything(method, bench)
    for epoch in range(3):
        train(method, optimizer, bench)
        method.end_epoch(torch.tensor([0.3, 0.7, 1.6 - epoch / 2], dtype=torch.float64), METRICS)
    head = {name: p.detach().clone() for name, p in bench.model.heads["species"].named_parameters()}
    kept, others = per_task_entries(method, 2), bench.model.heads["age"].weight.detach().clone()
    for _ in range(2):
        assert train(method, optimizer, bench, inactive=["species"])[2] == 0
    assert all(torch.equal(p, head[name]) for name, p in bench.model.heads["species"].named_parameters())
    assert same(per_task_entries(method, 2), kept)
    assert not torch.equal(bench.model.heads["age"].weight, others)


def test_all_inactive_is_no_step(weighting_name, make_weighting, bench):
    method = make_weighting(weighting_name, bench.tasks)
    optimizer = everything(method, bench)
    for _ in range(2):
        train(method, optimizer, bench)
    before = [p.detach().clone() for p in [*bench.model.parameters(), *method.parameters()]]
    state = copy_of_state(method)
    weights = train(method, optimizer, bench, inactive=["age", "sick", "species"])
    assert weights.tolist() == [0.0, 0.0, 0.0]
    after = [*bench.model.parameters(), *method.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert same(copy_of_state(method), state)


def test_state_survives_a_checkpoint(weighting_name, make_weighting, make_bench, tasks):
    """Saved with plain tensors and numbers and loaded into a new object, the method goes on to the bit."""
    bench = make_bench(tasks)
    method = make_weighting(weighting_name, tasks)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.5) if list(method.parameters()) else None
    for mean in ([0.3, 0.7, 1.6], [0.2, 0.69, 1.0], [0.2, 0.3, 1.0]):
        for _ in range(2):
            step = bench.step()
            method.zero_grad()
            method.backward(step)
            if optimizer:
                optimizer.step()
            method.after_step(step)
        method.end_epoch(torch.tensor(mean, dtype=torch.float64), METRICS)
    other = make_weighting(weighting_name, tasks)
    other.load_state_dict(copy_of_state(method))
    assert same(other.state_dict(), method.state_dict())
    one, two = (draw_weights(m, bench.step, 6) for m in (method, other))
    assert torch.equal(one, two)
    for m in (method, other):
        m.end_epoch(torch.tensor([0.1, 0.3, 0.9], dtype=torch.float64), METRICS)
    one, two = (draw_weights(m, bench.step, 7) for m in (method, other))
    assert torch.equal(one, two)


def test_scales_for_another_as_by_itself(weighting_name, make_weighting, make_bench, tasks):
    """As the prescale of the plain sum a loss-based method gives its own weights, over steps, epochs and absences."""
    method, prescale = make_weighting(weighting_name, tasks), make_weighting(weighting_name, tasks)
    if method.kind != "total":
        pytest.skip("works on gradients")
    composed, weights = make_weighting("sum", tasks), []
    composed.compose(Control(), prescale)
    for each in (method, composed):
        torch.manual_seed(0)
        bench, found = make_bench(tasks), []
        optimizer = everything(each, bench)
        for epoch in range(2):
            found += [train(each, optimizer, bench, inactive) for inactive in ((), ("sick",), (), ("age", "species"))]
            each.end_epoch(torch.tensor([0.3, 0.7, 1.6 - epoch / 2], dtype=torch.float64), METRICS)
        weights.append(torch.stack(found))
    torch.testing.assert_close(*weights)


def test_a_loss_based_step_does_not_wait_for_the_device(weighting_name, make_weighting, tasks):
    """On the device `meta`, whose tensors have no values: reading one is an error there and a wait on a GPU."""
    method = make_weighting(weighting_name, tasks).to("meta")
    if method.kind != "total":
        pytest.skip("works on gradients, whose solvers may wait")
    shared = [torch.nn.Parameter(torch.empty(4, device="meta"))]
    for index in range(2):
        losses = [shared[0].square().sum() for _ in tasks]
        again = lambda batch: [shared[0].square().sum() for _ in tasks]  # noqa: E731
        step = Step(losses, [True] * 3, shared[0], shared, shared, [[], [], []], 0, index, again)
        assert method.backward(step).device.type == "meta"
        method.after_step(step)


def test_single_task_has_a_weight(weighting_name, make_weighting, make_tasks, make_bench):
    """Every method runs on one task, whose baseline it then is."""
    bench = make_bench(make_tasks(["species"]))
    weights = make_weighting(weighting_name, bench.tasks).backward(bench.step())
    assert weights.shape == (1,)
    assert weights.item() > 0


@pytest.mark.parametrize(("name", "wanted"), [("sum", 3.0), ("mean", 1.0), ("rlw", 1.0), ("dwa", 3.0)])
def test_weights_sum_to(name, wanted, make_weighting, tasks, linear_step):
    method = make_weighting(name, tasks)
    for epoch in range(4):
        for seed in range(5):
            weights = draw_weights(method, lambda: linear_step(torch.eye(3), [0.2, 0.7, 1.6]), seed)
            assert weights.sum().item() == pytest.approx(wanted)
            assert weights.min() > 0
        method.end_epoch(torch.tensor([1.0 / (1 + epoch), 0.7, 1.6 * math.exp(-epoch)], dtype=torch.float64), METRICS)


def test_rlw_draws_anew_at_each_step_and_without_preference(make_weighting, tasks, linear_step):
    method = make_weighting("rlw", tasks)
    weights = torch.stack([method.backward(linear_step(torch.eye(3))) for _ in range(600)])
    assert len({tuple(row) for row in weights.tolist()}) == 600
    assert ((weights.mean(0) - 1 / 3).abs() < 4 * weights.std(0) / math.sqrt(600)).all()


def test_pcgrad_without_conflict_is_the_sum(make_weighting, tasks, linear_step):
    rows = torch.tensor([[1.0, 0.2], [0.7, 0.5], [0.1, 0.6]])
    assert make_weighting("pcgrad", tasks).backward(linear_step(rows)).tolist() == [1.0, 1.0, 1.0]
