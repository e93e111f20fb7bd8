"""A task: what a head predicts, how its output becomes a loss, and how it becomes years or a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from mtl import losses
from mtl.metrics import LOG_SCALE, ClassSums, RegressionSums

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


class Raw:
    """Years as they are."""

    spread = 30.0  # about the error of an untrained network

    def encode(self, years: Tensor) -> Tensor:
        return years

    def activate(self, output: Tensor) -> Tensor:
        return output

    def decode(self, activated: Tensor) -> Tensor:
        return activated


class LogSigmoid:
    """log(years) / 4.75, reached through a sigmoid.

    log(116) / 4.75 = 1.0008: the sigmoid never quite reaches the oldest age, 115.58 years is its limit. Labels
    below one year (label noise can make them) count as one year.
    """

    spread = 0.2

    def encode(self, years: Tensor) -> Tensor:
        return years.clamp(min=1).log() / LOG_SCALE

    def activate(self, output: Tensor) -> Tensor:
        return output.sigmoid()

    def decode(self, activated: Tensor) -> Tensor:
        return (activated * LOG_SCALE).exp()


TRANSFORMS: dict[str, type[Raw] | type[LogSigmoid]] = {"raw": Raw, "log_sigmoid": LogSigmoid}
# name -> (loss, likelihood, outputs of the head)
REGRESSION_LOSSES: dict[str, tuple[Callable[..., Tensor], str, int]] = {
    "l1": (losses.l1, "laplace", 1),
    "mse": (losses.mse, "gaussian", 1),
    "smooth_l1": (losses.smooth_l1, "laplace", 1),
    "nll": (losses.gaussian_nll, "learnt", 2),
}


@dataclass(frozen=True)
class Task:
    """One prediction task. B pictures, W = `width` outputs of its head."""

    name: str
    kind: Literal["regression", "binary", "multiclass"]
    #: the distribution whose negative log-likelihood the loss is up to its scale, which uncertainty weighting asks
    #: for; smooth L1 has Laplace's tails, `learnt` is a likelihood whose scale the head itself predicts
    likelihood: Literal["gaussian", "laplace", "softmax", "learnt"]
    width: int
    loss_function: Loss
    transform: Raw | LogSigmoid | None = None
    classes: tuple[str, ...] = ()
    low: int = 0
    high: int = 0

    def loss(self, output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Scalar loss of `output` [B, W] against `target` [B] (years or class index) where `mask` [B] is True."""
        if self.transform is None:
            return self.loss_function(output, target, mask)
        # Only the first output goes through the transform: a second one is a log-variance on the transformed scale.
        activated = torch.cat([self.transform.activate(output[:, :1]), output[:, 1:]], 1)
        return self.loss_function(activated, self.transform.encode(target), mask)

    def predict(self, output: Tensor) -> Tensor:
        """`output` [B, W] -> [B] years, or class indices as floats."""
        if self.transform is not None:
            return self.transform.decode(self.transform.activate(output[:, 0]))
        if self.width == 1:
            return (output[:, 0] > 0).to(output.dtype)
        return output.argmax(1).to(output.dtype)

    def probabilities(self, output: Tensor) -> Tensor:
        """`output` [B, W] -> class probabilities [B, C]; [B, 0] for a regression."""
        if self.kind == "regression":
            return output[:, :0]
        if self.width == 1:
            one = output.sigmoid()
            return torch.cat([1 - one, one], 1)
        return output.softmax(1)

    def sums(self) -> RegressionSums | ClassSums:
        """Fresh accumulators of this task's metrics."""
        return RegressionSums() if self.kind == "regression" else ClassSums(len(self.classes))


def build_tasks(
    names: Sequence[str],
    specs: Mapping[str, Mapping[str, Any]],
    target: Mapping[str, Any],
    binary_outputs: int,
    label_smoothing: float,
) -> list[Task]:
    """The tasks `names`, in that order.

    Args:
        names: which of `specs` to train.
        specs: the data set's tasks: `kind` and `low`/`high`, or `classes`.
        target: of regression tasks: `transform` (raw, log_sigmoid), `loss` (l1, mse, smooth_l1, nll), and `beta` for
            smooth_l1, in units of the transformed target.
        binary_outputs: 1 (one logit) or 2 (two) for binary tasks.
        label_smoothing: of class tasks, in [0, 1).

    Raises:
        ValueError: a name, transform or loss that does not exist.
    """
    if not names:
        raise ValueError(f"tasks=[] trains nothing; name at least one of {', '.join(specs)}.")
    if len(set(names)) < len(names):
        raise ValueError(f"tasks=[{','.join(names)}] names a task twice; name each once.")
    return [_build(name, specs, target, binary_outputs, label_smoothing) for name in names]


def _build(
    name: str,
    specs: Mapping[str, Mapping[str, Any]],
    target: Mapping[str, Any],
    binary_outputs: int,
    label_smoothing: float,
) -> Task:
    if name not in specs:
        raise ValueError(f"tasks: this data set has no task '{name}'; it has {', '.join(specs)}.")
    spec = specs[name]
    if spec["kind"] == "regression":
        loss, likelihood, width = _choice("age_target.loss", target["loss"], REGRESSION_LOSSES)
        transform = _choice("age_target.transform", target["transform"], TRANSFORMS)
        if loss is losses.smooth_l1:
            loss = partial(loss, beta=target["beta"])
        if loss is losses.gaussian_nll:
            loss = partial(loss, spread=transform.spread)
        return Task(name, "regression", likelihood, width, loss, transform(), (), spec["low"], spec["high"])
    classes = tuple(spec["classes"])
    if spec["kind"] == "binary" and binary_outputs == 1:
        loss = partial(losses.binary_cross_entropy, label_smoothing=label_smoothing)
        return Task(name, "binary", "softmax", 1, loss, None, classes, 0, 1)
    if spec["kind"] == "binary" and binary_outputs != 2:
        raise ValueError(f"head.binary_outputs={binary_outputs}: expected 1 (one logit) or 2 (two logits).")
    loss = partial(losses.cross_entropy, label_smoothing=label_smoothing)
    return Task(name, spec["kind"], "softmax", len(classes), loss, None, classes, 0, len(classes) - 1)


def _choice(key: str, name: str, options: Mapping[str, Any]) -> Any:
    if name not in options:
        raise ValueError(f"{key}={name}: expected one of {', '.join(options)}.")
    return options[name]
