"""The catalogue: read from the YAMLs, equal to README's table, and every method's weights at step 0."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mtl.config import CONF
from mtl.methods import HEADINGS, catalogue, main, to_markdown

ROOT = Path(__file__).parents[2]
METHODS = catalogue()
BY_NAME = {method.name: method for method in METHODS}


def test_every_yaml_is_a_method():
    assert sorted(BY_NAME) == sorted(path.stem for path in (CONF / "weighting").glob("*.yaml"))
    assert len(METHODS) >= 36


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_what_a_yaml_must_say(method):
    """Passes that fit the kind; classes of equals that hold both ways; a summary without its full stop."""
    assert re.fullmatch(r"[1-4] \+ [13]?K?", method.passes)
    assert method.kind == "gradient-based" or "K" not in method.passes
    assert method.summary
    assert not method.summary.endswith(".")
    for other in method.same_as:
        assert method.name in BY_NAME[other].same_as, other
    assert method.code == "own" or re.fullmatch(r"torchjd [\d.]+ \(\w+(, \w+)*\)", method.code)


def test_code_is_found_in_yaml_and_module():
    assert BY_NAME["sum"].code.endswith("(Sum)")
    assert BY_NAME["dwa"].code.endswith("(DWA)")
    assert BY_NAME["uncertainty"].code == "own"
    assert BY_NAME["dwa"].hyperparameters == {"temperature": 2.0, "window": None}


def test_readme_has_this_very_table():
    """`python -m mtl.methods --markdown` prints it."""
    text = (ROOT / "README.md").read_text()
    block = text.split("<!-- methods -->\n")[1].split("<!-- end of methods -->")[0]
    assert block.strip() == to_markdown(METHODS)


def test_printed(capsys):
    assert main([]) == 0
    output = capsys.readouterr().out
    for name in BY_NAME:
        assert re.search(rf"\b{name}\b", output), name
    assert f"{len(METHODS)} weightings" in output
    assert main(["--markdown"]) == 0
    assert capsys.readouterr().out.strip() == to_markdown(METHODS)
    assert len(HEADINGS) == len(METHODS[0].cells())


def test_reading_the_catalogue_needs_no_torch():
    code = "import sys; from mtl.methods import catalogue; catalogue(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_weights_at_step_0(capsys, cache):
    """Every method, on the current config: K finite weights, their sum; plain sum is 1, 1, 1."""
    overrides = ["data.draw.num=120", "backbone=mobilenet", "train.batch_size=16", "train.threads=1"]
    assert main(["--init", *overrides, f"data.cache={cache}", "train.device=cpu"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.split()[0] in BY_NAME]
    assert [line.split()[0] for line in lines] == [method.name for method in METHODS]
    weights = {line.split()[0]: [float(word) for word in line.split()[1:5]] for line in lines}
    assert weights["sum"] == [1, 1, 1, 3]
    assert weights["dwa"] == [1, 1, 1, 3]
    assert weights["uncertainty"] == [0.5, 1, 1, 2.5]
    for name, (*each, total) in weights.items():
        assert all(math.isfinite(weight) for weight in each), name
        assert total == pytest.approx(sum(each), rel=1e-2, abs=1e-2 * max(map(abs, each))), name


def test_a_mistake_is_a_sentence(capsys):
    assert main(["--init", "train.epochs=0"]) == 2
    assert capsys.readouterr().err == "train.epochs=0: expected a whole number of at least 1.\n"
