"""Controls against confounds, for every weighting: what they promise, and that they change nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mtl.weighting.control import Control


def gradients(bench):
    shared = bench.shared_gradient()
    heads = [torch.cat([p.grad.flatten() for p in head]) for head in bench.model.head_parameters()]
    return shared, heads


def step(weighting_name, make_weighting, make_bench, tasks, prescale=None, inactive=(), **control):
    """Effective weights, shared gradient, head gradients, and the plain rows, of one step at equal draws."""
    bench = make_bench(tasks)
    method = make_weighting(weighting_name, tasks)
    method.compose(Control(**control), make_weighting(prescale, tasks) if prescale else None)
    torch.manual_seed(3)
    weights = method.backward(bench.step(inactive))
    shared, heads = bench.shared_gradient(), []
    for head in bench.model.head_parameters():
        heads.append(torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in head]))
    return weights, shared, heads, bench, method


@pytest.fixture
def scalable(weighting_name, make_weighting, tasks):
    if make_weighting(weighting_name, tasks).prescale is not None:
        pytest.skip("it scales the losses itself")


@pytest.fixture
def run(weighting_name, make_weighting, make_bench, tasks):
    return lambda **options: step(weighting_name, make_weighting, make_bench, tasks, **options)


@pytest.fixture
def own(make_bench, tasks):
    """Gradient of each head under its own loss alone."""
    bench = make_bench(tasks)
    torch.autograd.backward(bench.losses()[1])
    return [torch.cat([p.grad.flatten() for p in head]) for head in bench.model.head_parameters()]


def near(one, other, tolerance=1e-5):
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * max(other.abs().max().item(), 1e-12))


def spanned(method):
    return method.residual is None or method.residual.item() < 1e-4


def test_sum_to_k(run):
    weights, shared, _, bench, method = run(normalize="sum_to_K")
    plain, plain_shared, *_ = run()
    if plain.sum() <= 0:
        near(weights, plain)
        return
    assert weights.sum().item() == pytest.approx(3, rel=1e-5)
    near(weights / weights.sum(), plain / plain.sum(), 1e-4)
    near(shared / shared.norm(), plain_shared / plain_shared.norm(), 1e-4)
    if spanned(method):
        near(shared, weights @ bench.rows(), 1e-4)


def test_sum_to_k_counts_active_tasks(run):
    weights, *_ = run(normalize="sum_to_K", inactive=["sick"])
    if run(inactive=["sick"])[0].sum() > 0:
        assert weights.sum().item() == pytest.approx(2, rel=1e-5)


def test_match_sum_norm(run, make_bench, tasks):
    weights, shared, _, bench, method = run(normalize="match_sum_norm")
    plain, plain_shared, *_ = run()
    target = make_bench(tasks).rows().sum(0).norm()
    assert shared.norm().item() == pytest.approx(target.item(), rel=1e-4)
    near(shared / shared.norm(), plain_shared / plain_shared.norm(), 1e-4)
    near(weights / weights.norm(), plain / plain.norm(), 1e-4)
    if spanned(method):
        near(shared, weights @ bench.rows(), 1e-4)


@pytest.mark.parametrize("normalize", ["none", "sum_to_K", "match_sum_norm"])
def test_heads(run, own, normalize):
    """Raw: the gradient of the own loss; weighted: times the weight that is logged; null: by the kind of method."""
    for heads in ("raw", "weighted", None):
        weights, _, found, _, method = run(heads=heads, normalize=normalize)
        weighted = heads == "weighted" or (heads is None and method.kind == "total")
        inner = method.loss_factors() if heads is None and not weighted else None  # log L has the gradient of L, over L
        for k in range(3):
            near(found[k], own[k] * (weights[k] if weighted else 1 if inner is None else inner[k]), 1e-4)


def test_heads_do_not_change_the_shared_gradient(run):
    raw, weighted = run(heads="raw"), run(heads="weighted")
    near(raw[0], weighted[0])
    near(raw[1], weighted[1])


def test_representation(run, own):
    """Weights from the gradients of the features; what reaches the backbone is the weighted sum, heads as before."""
    try:
        weights, shared, heads, bench, method = run(features="representation")
    except ValueError as refusal:
        pytest.skip(str(refusal))
    if method.kind == "total":
        near(weights, run()[0])
    if spanned(method):
        near(shared, weights @ bench.rows(), 1e-3)
    weighted = method.kind == "total"
    for k in range(3):
        near(heads[k], own[k] * (weights[k] if weighted else 1), 1e-4)


def test_representation_of_pcgrad_is_pcgrad_on_the_features(make_weighting, make_bench, tasks, linear_step):
    """Second source: the method's weights on the rows dL_k / dz, taken apart from the contract."""
    weights, *_ = step("pcgrad", make_weighting, make_bench, tasks, features="representation")
    bench = make_bench(tasks)
    features, losses = bench.losses()
    rows = torch.stack([torch.autograd.grad(x, features, retain_graph=True)[0].flatten() for x in losses])
    torch.manual_seed(3)
    near(weights, make_weighting("pcgrad", tasks).backward(linear_step(rows)), 1e-4)


def test_prescale_by_sum_changes_nothing(run, scalable):
    plain, other = run(), run(prescale="sum")
    near(other[0], plain[0], 1e-4)
    near(other[1], plain[1], 1e-4)
    for one, two in zip(other[2], plain[2], strict=True):
        near(one, two, 1e-4)


def test_prescale_is_the_method_on_scaled_losses(scalable, weighting_name, make_weighting, make_bench, tasks):
    """The same as a network whose losses are multiplied by hand."""
    weights, shared, _, bench, method = step(weighting_name, make_weighting, make_bench, tasks, prescale="uncertainty")
    scales = torch.tensor([0.5, 1.0, 1.0])  # uncertainty at s = 0: mse, binary, multiclass
    other, by_hand = make_bench(tasks), make_weighting(weighting_name, tasks)
    scaled = other.step()
    scaled.losses = [loss * scale for loss, scale in zip(scaled.losses, scales, strict=True)]
    scaled.forward = lambda batch: [x * scale for x, scale in zip(other.losses((), batch)[1], scales, strict=True)]
    torch.manual_seed(3)
    near(weights, by_hand.backward(scaled) * scales, 1e-4)
    near(shared, other.shared_gradient(), 1e-4)
    if spanned(method):
        near(shared, weights @ bench.rows(), 1e-4)
    assert all(p.grad is not None for p in method.prescale.parameters()), "the scaling method learns"


def test_prescale_hears_of_steps_and_epochs(scalable, weighting_name, make_weighting, tasks, make_bench):
    """A method that remembers is told, whichever method it scales for; its state is in the checkpoint."""
    told = []
    method, prescale = make_weighting(weighting_name, tasks), make_weighting("dwa", tasks)
    prescale.after_step = lambda step: told.append(step)
    method.compose(Control(), prescale)
    bench = make_bench(tasks)
    for mean in ([0.4, 0.7, 1.6], [0.2, 0.7, 1.5]):
        current = bench.step()
        method.backward(current)
        method.after_step(current)
        metrics = {"age": {"mae_years": 9.0}, "sick": {"accuracy": 0.7}, "species": {"accuracy": 0.5}}
        method.end_epoch(torch.tensor(mean, dtype=torch.float64), metrics)
        bench.clear()
    assert len(told) == 2
    assert prescale.history == [[0.4, 0.7, 1.6], [0.2, 0.7, 1.5]]
    other = make_weighting(weighting_name, tasks)
    other.compose(Control(), make_weighting("dwa", tasks))
    other.load_state_dict(method.state_dict())
    assert other.prescale.history == prescale.history


def test_only_a_loss_based_method_scales(make_weighting, tasks):
    with pytest.raises(ValueError, match="expected a loss-based method"):
        make_weighting("sum", tasks).compose(Control(), make_weighting("pcgrad", tasks))


@pytest.mark.parametrize("options", [{"normalize": "x"}, {"heads": "none"}, {"features": "pixels"}])
def test_wrong_values(options):
    (key,) = options
    with pytest.raises(ValueError, match=rf"^control\.{key}=.*: expected "):
        Control(**options)


def test_what_cannot_be_scaled_stays(tasks, make_weighting, linear_step):
    """Weights that sum to nothing, and a gradient of length zero."""
    assert Control("sum_to_K").factor(torch.tensor([1.0, -1.0])).item() == 1
    zero = torch.zeros(3)
    assert Control("match_sum_norm").factor(torch.ones(2), torch.tensor(2.0), zero).item() == 1
    method = make_weighting("sum", tasks)
    method.compose(Control("match_sum_norm"), None)
    weights = method.backward(linear_step(torch.zeros(3, 4)))
    assert weights.tolist() == [1, 1, 1]
    assert isinstance(method, nn.Module)


def test_imtl_is_its_halves_composed(make_weighting, make_bench, tasks):
    """IMTL = IMTL-G on the losses that IMTL-L scales: weights, gradients of network and scales."""
    results = []
    for name, prescale in (("imtl", None), ("imtl_g", "imtl_l")):
        bench, method = make_bench(tasks), make_weighting(name, tasks)
        method.compose(Control(), make_weighting(prescale, tasks) if prescale else None)
        with torch.no_grad():
            next(method.prescale.parameters()).copy_(torch.tensor([0.3, -0.2, 0.1]))
        weights = method.backward(bench.step())
        results.append([weights, bench.shared_gradient(), next(method.prescale.parameters()).grad])
    for one, two in zip(*results, strict=True):
        near(one, two)
