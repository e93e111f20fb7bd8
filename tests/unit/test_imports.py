"""Imports run one way, and heavy packages stay where they belong: read from the sources, nothing is imported.

A module may import modules of lower levels and those of its own part; every other edge inside `mtl` fails. Parts are
named by the longest fitting prefix. A module of a new part fails until it is given a level here.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the ground up. A part imports from lower levels only; within a part its modules may import one another.
LEVELS: list[list[str]] = [
    ["mtl.losses", "mtl.metrics", "mtl.identity", "mtl.screen", "mtl.data.batch"],
    ["mtl.claim", "mtl.display", "mtl.interrupt"],
    ["mtl.rundir", "mtl.tasks", "mtl.board", "mtl.data.augment", "mtl.data.split", "mtl.data.pack"],
    ["mtl.data.noise", "mtl.data.trunk"],
    # Members: what a YAML names by `_target_`, and what they stand on. None knows another part of its level.
    ["mtl.backbones", "mtl.heads", "mtl.weighting", "mtl.data.loader", "mtl.data.trees"],
    ["mtl.conflict"],
    [
        "mtl.model",
        "mtl.optim",
        "mtl.sums",
        "mtl.loggers",
        "mtl.checkpoint",
        "mtl.environment",
        "mtl.config",
        "mtl.space",
    ],
    ["mtl.evaluate"],
    ["mtl.train"],
    ["mtl.build"],
    ["mtl.results"],
    ["mtl.report", "mtl.check", "mtl.replay", "mtl.methods", "mtl.search", "mtl.study", "mtl.pool"],
    ["mtl.plan"],
    ["mtl.experiment", "mtl.callbacks", "mtl.ledger", "mtl.estimate"],
    ["run", "mtl.tune", "hydra_plugins.mtl_blocks", "hydra_plugins.mtl_local"],
]
# Modules that are one part: a config's and its mistakes', and those that read picture files into an array together.
PARTS = {
    "mtl.sentences": "mtl.config",
    "mtl.data.decode": "mtl.data.pack",
    "mtl.data.duplicates": "mtl.data.pack",
    "mtl.data.names": "mtl.data.pack",
    "mtl.data.source": "mtl.data.pack",
    "mtl.data.tar": "mtl.data.pack",
    "mtl.data.workers": "mtl.data.pack",
}
# Edges that their level allows and the design does not.
CONTRACT = ("__init__", "base", "control", "jacobian", "step")
WEIGHTINGS = [
    f"mtl.weighting.{path.stem}" for path in (ROOT / "mtl" / "weighting").glob("*.py") if path.stem not in CONTRACT
]
FORBIDDEN = {
    # Training knows the contract of a weighting and no method.
    "mtl.train": WEIGHTINGS,
    "mtl.build": WEIGHTINGS,
    # A study is read from its files, without the packages of training.
    "mtl.report": ["mtl.build", "mtl.train", "mtl.evaluate", "mtl.model", "mtl.tasks", "mtl.results", "mtl.checkpoint"],
}
# Package -> the only places that import it; `lazily` those that do so inside a function (or for annotations).
PACKAGES: dict[str, list[str]] = {
    "hydra": ["run", "mtl.config", "mtl.sentences", "mtl.experiment", "mtl.callbacks", "hydra_plugins"],
    "omegaconf": ["run", "mtl.config", "mtl.sentences", "mtl.experiment", "mtl.callbacks", "hydra_plugins"],
    "torchjd": ["mtl.weighting"],
    "torchvision": ["mtl.backbones"],
    "wandb": ["mtl.loggers", "mtl.report.aggregate"],
    "optuna": ["mtl.space", "mtl.search", "mtl.ledger"],
    "pandas": ["mtl.report"],
    "matplotlib": ["mtl.report"],
    "scipy": ["mtl.report"],
    "rich": ["mtl.report", "mtl.screen", "mtl.board", "mtl.methods"],
    "plotly": ["mtl.report"],
    "PIL": ["mtl.data", "mtl.report"],
}
LAZY = ["plotly", "torchvision", "wandb", "matplotlib", "pandas", "rich", "torchjd", "optuna"]
# A method's own module is imported when the method is chosen.
LAZY_EXCEPT = {"torchjd": ["mtl.weighting.dwa", "mtl.weighting.imtl"]}
NO_TORCH = [
    "mtl.report",
    "mtl.identity",
    "mtl.rundir",
    "mtl.claim",
    "mtl.study",
    "mtl.display",
    "mtl.screen",
    "mtl.board",
    "mtl.loggers",
    "mtl.config",
    "mtl.sentences",
    "mtl.callbacks",
    "run",
    "hydra_plugins",
]
LAZY_TORCH = ["mtl.metrics", "mtl.methods", "mtl.pool"]  # what of them is read from files needs none


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def sources() -> dict[str, Path]:
    files = [ROOT / "run.py", *(ROOT / "mtl").rglob("*.py"), *(ROOT / "hydra_plugins").rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


SOURCES = sources()


def imports(name: str, text: str | None = None) -> list[tuple[str, bool]]:
    """(imported module, whether at module level) of the module `name`; `from mtl import losses` is mtl.losses."""
    tree = ast.parse(SOURCES[name].read_text() if text is None else text)
    found: list[tuple[str, bool]] = []

    def add(module: str, names: list[ast.alias], top: bool) -> None:
        for alias in names:
            inner = f"{module}.{alias.name}"
            found.append((inner if inner in SOURCES else module, top))

    def visit(node: ast.AST, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            inside = top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                inside = False
            if isinstance(child, ast.Import):
                found.extend((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert not child.level, f"{name} imports relatively"
                add(child.module or "", child.names, top)
            else:
                visit(child, inside)

    visit(tree, True)
    return found


def part(name: str) -> str:
    if name in PARTS:
        return PARTS[name]
    fitting = [prefix for level in LEVELS for prefix in level if within(name, prefix)]
    assert fitting, f"{name} has no level: give it one in {Path(__file__).name}"
    return max(fitting, key=len)


def level(name: str) -> int:
    return next(number for number, names in enumerate(LEVELS) if part(name) in names)


def wrong_edges(name: str, text: str | None = None) -> list[str]:
    """The edges of the module `name` that go up, sideways or where they must not."""
    wrong = []
    for other, _ in imports(name, text):
        if not within(other, "mtl") and not within(other, "hydra_plugins"):
            continue
        if other in ("mtl", "mtl.data"):  # empty packages
            continue
        banned = any(
            within(other, prefix) for source, names in FORBIDDEN.items() if within(name, source) for prefix in names
        )
        if banned or (part(other) != part(name) and level(other) >= level(name)):
            wrong.append(f"{name} imports {other}")
    return wrong


MODULES = sorted(set(SOURCES) - {"mtl", "mtl.data"})


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_one_way(name):
    assert wrong_edges(name) == []


@pytest.mark.parametrize("name", MODULES)
def test_packages_stay_where_they_belong(name):
    for module, top in imports(name):
        package = module.split(".")[0]
        if package in PACKAGES and package not in ("mtl", "run"):
            assert any(within(name, place) for place in PACKAGES[package]), f"{name} imports {package}"
        if package in LAZY and name not in LAZY_EXCEPT.get(package, []):
            assert not top, f"{name} imports {package} when it is imported itself"
        if package in ("torch", "torchvision", "torchjd"):
            assert not any(within(name, place) for place in NO_TORCH), f"{name} imports {package}"
            assert not (top and any(within(name, place) for place in LAZY_TORCH)), f"{name} imports {package} at once"


@pytest.mark.parametrize("name", ["mtl.report", "mtl.identity", "mtl.rundir"])
def test_no_torch_by_way_of_another_module(name):
    """Neither at once nor lazily reached: what these modules import at module level, followed to the end."""
    seen, queue = set(), [module for module in SOURCES if within(module, name)]
    while queue:
        module = queue.pop()
        seen.add(module)
        lazily = within(module, name)  # inside the report itself functions count too
        for other, top in imports(module):
            assert not (other.split(".")[0] == "torch" and (top or lazily)), f"{name} reaches torch by {module}"
            if other in SOURCES and other not in seen and (top or lazily):
                queue.append(other)


@pytest.mark.parametrize("name", ["mtl", "mtl.data", "mtl.weighting", "mtl.backbones", "mtl.heads"])
def test_packages_import_nothing(name):
    """`import mtl.weighting.dwa` must not import every other method."""
    assert imports(name) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("mtl.losses", "from mtl.tasks import Task"),  # up
        ("mtl.tasks", "from mtl.data.augment import normalise"),  # sideways
        ("mtl.heads.mlp", "import mtl.backbones.torchvision"),  # another member
        ("mtl.data.noise", "from mtl.data.loader import Loader"),
        ("mtl.weighting.base", "from mtl.model import HydraNet"),
        ("mtl.model", "from mtl import optim"),
        ("mtl.train", "from mtl.weighting.dwa import DWA"),  # a method by name
        ("mtl.evaluate", "def late():\n    from mtl.train import fit"),  # inside a function is an edge too
        ("mtl.report.collect", "from mtl.evaluate import trivial"),
    ],
)
def test_a_wrong_edge_is_seen(name, line):
    assert len(wrong_edges(name, line)) == 1


def test_all_modules_are_read():
    assert {"run", "mtl.train", "mtl.weighting.base", "mtl.report.collect", "hydra_plugins.mtl_blocks"} <= set(MODULES)
    known = {name for names in LEVELS for name in names} | set(PARTS)
    assert not [name for name in known if not any(within(module, name) for module in MODULES)]
