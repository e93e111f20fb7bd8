from __future__ import annotations

import csv

import numpy as np
import pytest
from helpers_report import tabled

from mtl.report.__main__ import main
from mtl.report.groups import group

HEADER = "id,age/true,age/pred,sick/true,sick/pred,species/true,species/pred,cluster"


def _predictions(seed, bad_species):
    """20 pictures: ages 5 to 100, four of each species; all of `bad_species` called sick wrongly, and too old by 9.

    The first is too old by 2.
    """
    lines = [HEADER]
    for i in range(20):
        bad, age, sick = i % 5 == bad_species, 5 * (i + 1), i % 2
        guess = age + seed + 9 * bad + 2 * (i == 0)
        lines.append(f"{i:02}.png,{age},{guess},{sick},{1 - sick if bad else sick},{i % 5},{i % 5},{i:02}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def two(study, write_run):
    for seed in (0, 2):
        write_run("sum", seed=seed, predictions=_predictions(seed, bad_species=3))
    return study


def test_each_class_has_its_own_metrics_and_the_gap_is_best_minus_worst_of_a_seed(two):
    (found,) = group(tabled(two).rows, "species")
    assert found.names == ["oak", "pine", "ash", "elm", "fir"]
    assert found.counts == [4] * 5
    lines = {task: (cells, gap) for _, task, _, cells, gap in found.lines}
    cells, gap = lines["age"]
    assert [(cell.mean, cell.n) for cell in cells] == [(1.5, 2), (1.0, 2), (1.0, 2), (10.0, 2), (1.0, 2)]
    assert cells[0].std == pytest.approx(np.std([0, 2], ddof=1))
    assert (gap.mean, gap.std) == (9.0, 0.0)
    cells, gap = lines["sick"]
    assert [cell.mean for cell in cells] == [1.0, 1.0, 1.0, 0.0, 1.0]
    assert gap.mean == 1.0


def test_a_regression_task_groups_by_bins(two):
    (found,) = group(tabled(two).rows, "age=20,60")
    assert found.names == ["below 20 years", "20 to 60", "60 and above"]
    assert found.counts == [3, 8, 9]
    (found,) = group(tabled(two).rows, "age")
    assert sum(found.counts) == 20
    assert max(found.counts) - min(found.counts) <= 1


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("height", "expected one of the tasks age, sick, species"),
        ("age=60,20", "expected rising numbers"),
        ("age=old", "expected rising numbers"),
        ("sick=1", "bins are for numbers, and sick has classes"),
    ],
)
def test_a_wrong_group_is_one_sentence(two, word, reason, capsys):
    assert main([str(two), "--by", word, "--no-figures"]) == 2
    errors = capsys.readouterr().err
    assert reason in errors
    assert errors.count("\n") == 1


def test_the_report_prints_and_writes_the_groups(two, capsys):
    assert main([str(two), "--by", "species", "--no-figures"]) == 0
    assert "Test pictures by species" in capsys.readouterr().out
    assert "## By species" in (two / "table.md").read_text()
    with (two / "groups.csv").open() as file:
        records = list(csv.DictReader(file))
    of_age = {record["group"]: float(record["mean"]) for record in records if record["task"] == "age"}
    assert of_age == {"oak": 1.5, "pine": 1.0, "ash": 1.0, "elm": 10.0, "fir": 1.0, "gap": 9.0}
