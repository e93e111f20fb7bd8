"""The catalogue of weightings, read from their YAMLs: `python -m mtl.methods [--init] [OVERRIDE ...]`."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from mtl.config import CONF

HEADINGS = ("weighting", "what it does", "source", "kind", "uses", "passes", "code", "hyperparameters", "same as")


@dataclass(frozen=True)
class Method:
    """One weighting as its YAML describes it.

    Attributes:
        passes: forward and backward passes of a step; K stands for the number of tasks.
        same_as: methods whose results are not independent of it.
        hyperparameters: name -> default.
    """

    name: str
    summary: str
    kind: str
    paper: str | None
    year: int | None
    uses: list[str]
    passes: str
    same_as: list[str]
    code: str
    hyperparameters: dict[str, Any]

    def cells(self) -> tuple[str, ...]:
        """The texts under `HEADINGS`."""
        source = "" if self.paper is None else f"{self.paper.split(',')[0].split(' et al')[0]} {self.year}"
        options = ", ".join(f"{key}={_short(value)}" for key, value in self.hyperparameters.items())
        columns = (self.summary, source, self.kind, ", ".join(self.uses), self.passes, self.code, options)
        return self.name, *columns, ", ".join(self.same_as)


def catalogue() -> list[Method]:
    """All methods: loss-based ones first, each kind by name."""
    found = [_read(path) for path in (CONF / "weighting").glob("*.yaml")]
    return sorted(found, key=lambda method: (method.kind != "loss-based", method.name))


def _read(path: Path) -> Method:
    text = path.read_text()
    node = yaml.safe_load(text)
    method = node["method"]
    inner = [value for value in method.values() if isinstance(value, Mapping) and "_target_" in value]
    options = {key: value for key, value in method.items() if key != "_target_" and value not in inner}
    for part in inner:
        options |= {key: value for key, value in part.items() if not key.startswith("_")}
    return Method(
        name=path.stem,
        summary=text.splitlines()[0].removeprefix("# ").rstrip("."),
        kind=node["kind"],
        paper=node["paper"],
        year=node["year"],
        uses=node["uses"],
        passes=node["passes"],
        same_as=node["same_as"],
        code=_code(method["_target_"], [part["_target_"] for part in inner]),
        hyperparameters=options,
    )


def _code(target: str, inner: Sequence[str]) -> str:
    """`torchjd VERSION (CLASS, ...)` if the method's YAML or module uses torchjd, else `own`."""
    module = target.rpartition(".")[0]
    names = [name.rpartition(".")[2] for name in inner if name.startswith("torchjd.")]
    spec = importlib.util.find_spec(module)
    if not names and spec is not None and spec.origin is not None:
        names = sorted(set(_torchjd_names(Path(spec.origin).read_text())))
    return f"torchjd {version('torchjd')} ({', '.join(names)})" if names else "own"


def _torchjd_names(source: str) -> Iterator[str]:
    """Classes of torchjd that a module imports or calls."""
    packages = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torchjd":
            for alias in node.names:
                if alias.name[0].isupper():
                    yield alias.name
                else:
                    packages.add(alias.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in packages:
            yield node.attr


def _short(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def to_markdown(methods: Sequence[Method]) -> str:
    """The catalogue as a Markdown table."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *(method.cells() for method in methods)]
    first = [[f"`{row[0]}`" if i > 1 else row[0], *row[1:]] for i, row in enumerate(rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in first)


def first_weights(overrides: Sequence[str]) -> Iterator[tuple[str, list[float] | str, float | None, float]]:
    """(name, effective weights [K] or why there are none, residual, milliseconds) of each method at the first batch.

    Network, batch and draws are the same for all; the method and its hyperparameters come from its YAML.

    Raises:
        ValueError: an override that does not fit.
    """
    import torch

    from mtl.build import build_loaders, build_parts, build_weighting, load_data
    from mtl.config import compose
    from mtl.environment import set_threads
    from mtl.model import statistics_kept
    from mtl.train import Steps

    config = compose(overrides)
    set_threads(config["train"]["threads"])
    parts = build_parts(config)
    loader = build_loaders(config, parts, load_data(config)).train
    batch = next(iter(loader.epoch()))
    parts.model.train()
    steps = Steps(parts.model, parts.tasks, parts.device, config["train"]["amp"])
    for method in catalogue():
        try:
            node = yaml.safe_load((CONF / "weighting" / f"{method.name}.yaml").read_text())
            weighting = build_weighting(config | {"weighting": node}, parts.tasks).to(parts.device)
            torch.manual_seed(config["seed"])
            parts.model.zero_grad(set_to_none=True)
            with statistics_kept(parts.model):
                step, _ = steps.make(batch, further=loader.further(0, 0))
            started = time.perf_counter()
            weights = weighting.backward(step).tolist()
        except ValueError as error:
            yield method.name, str(error), None, 0.0
            continue
        residual = None if weighting.residual is None else weighting.residual.item()
        yield method.name, weights, residual, 1000 * (time.perf_counter() - started)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: printed; 2: a mistake, named in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m mtl.methods", description=__doc__)
    parser.add_argument("--init", action="store_true", help="every method's effective weights at step 0")
    parser.add_argument("--markdown", action="store_true", help="the catalogue as a Markdown table")
    parser.add_argument("overrides", nargs="*", help="of the config, as for run.py (with --init)")
    options = parser.parse_args(arguments)
    if options.markdown:
        print(to_markdown(catalogue()))
        return 0
    # Before torch is imported, as in run.py: idle OpenMP threads that spin starve other processes.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        _print_first_weights(options.overrides) if options.init else _print_catalogue()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _print_catalogue() -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*HEADINGS, box=box.SIMPLE_HEAD)
    methods = catalogue()
    for method in methods:
        table.add_row(*map(Text, method.cells()))
    console = Console(width=None if sys.stdout.isatty() else 220)
    console.print(table)
    print(f"{len(methods)} weightings. passes: forward + backward passes of a step, K the number of tasks.")


def _print_first_weights(overrides: Sequence[str]) -> None:
    from mtl.config import compose

    tasks = compose(overrides)["tasks"]
    print(f"{'weighting':22}" + "".join(f"{task:>12}" for task in tasks) + f"{'sum':>12}{'residual':>10}{'ms':>8}")
    for name, weights, residual, milliseconds in first_weights(overrides):
        if isinstance(weights, str):
            print(f"{name:22}  {weights}")
            continue
        cells = "".join(f"{weight:12.4g}" for weight in [*weights, sum(weights)])
        print(f"{name:22}{cells}{'' if residual is None else f'{residual:.2g}':>10}{milliseconds:8.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
