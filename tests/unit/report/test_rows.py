from __future__ import annotations

import shlex

import pytest
from helpers_report import tabled

from mtl.report.rows import SCORE, SINGLE


def _seeds(write_run, weighting, seeds=(0, 1), **changes):
    for seed in seeds:
        write_run(weighting, seed=seed, mae=10.0 + seed, **changes)


def test_single_task_runs_of_a_seed_are_one_row_whose_score_is_the_mean_of_their_skills(study, write_run):
    _seeds(write_run, "sum")
    for task in ("species", "age", "sick"):
        _seeds(write_run, "sum", tasks=[task])
    rows = tabled(study).rows
    single = rows.find(SINGLE)
    assert single.tasks == ("age", "sick", "species")
    assert [len(runs) for runs in single.runs.values()] == [3, 3]
    whole = rows.find("sum")
    assert rows.values(single, SCORE) == pytest.approx(rows.values(whole, SCORE))
    assert rows.values(single, "test/age/mae_years") == {("0",): 10.0, ("1",): 11.0}
    assert rows.values(single, "step_ms") == pytest.approx({("0",): 3 * 103.2, ("1",): 3 * 103.2})


def test_single_task_runs_stay_apart_where_a_task_or_all_common_seeds_are_missing(study, write_run):
    _seeds(write_run, "sum")
    _seeds(write_run, "sum", tasks=["age"])
    _seeds(write_run, "sum", tasks=["sick"])
    assert [row.label for row in tabled(study).rows.rows] == ["sum", "sum [age]", "sum [sick]"]
    _seeds(write_run, "sum", seeds=(7,), tasks=["species"])
    assert [row.label for row in tabled(study).rows.rows] == ["sum", "sum [age]", "sum [sick]", "sum [species]"]


def test_split_seeds_are_blocks_and_no_rows(study, write_run):
    for split in (0, 1):
        _seeds(write_run, "sum", data__split_seed=split)
        _seeds(write_run, "dwa", data__split_seed=split)
    rows = tabled(study).rows
    assert [row.label for row in rows.rows] == ["sum", "dwa"]
    assert rows.blocks == ["seed", "split_seed"]
    assert set(rows.rows[0].runs) == {("0", "0"), ("1", "0"), ("0", "1"), ("1", "1")}


def test_rows_by_a_key_are_blocked_by_everything_else(study, write_run):
    for lr in (0.1, 0.01):
        _seeds(write_run, "sum", optimizer__lr=lr)
        _seeds(write_run, "dwa", optimizer__lr=lr)
    rows = tabled(study, by=["optimizer.lr"], baseline="lr=0.01").rows
    assert [row.label for row in rows.rows] == ["lr=0.01", "lr=0.1"]
    assert rows.blocks == ["seed", "weighting"]
    assert len(rows.rows[0].runs) == 4
    with pytest.raises(ValueError, match=r"^'train.clip' does not differ .*; these do: weighting, optimizer.lr$"):
        tabled(study, by=["train.clip"])


def test_rows_of_other_settings_are_another_family(study, write_run):
    for target in ("raw", "log_sigmoid"):
        for name in ("sum", "dwa"):
            _seeds(write_run, name, data__image_size=32 if target == "raw" else 64)
    made = tabled(study)
    compared = made.comparisons.of(SCORE)
    assert {one.row.label: one.baseline.label for one in compared.values()} == {
        "dwa image_size=32": "sum image_size=32",
        "dwa image_size=64": "sum image_size=64",
    }


def test_methods_that_are_one_in_theory_are_marked(study, write_run):
    write_run("log", weighting__same_as=["gls", "uw_o"])
    write_run("gls", weighting__same_as=[])
    write_run("sum")
    made = tabled(study)
    assert {row.label: row.same_as for row in made.rows.rows} == {"sum": (), "gls": ("log",), "log": ("gls",)}
    assert "gls and log are one method in theory: not independent evidence." in made.caption.notes


def test_the_command_of_a_row_names_all_its_seeds(study, write_run):
    for seed in (0, 1, 2):
        run = write_run("dwa", seed=seed)
        status = run / "status.json"
        words = [
            "sweep=weighting",
            "weighting=dwa",
            "weighting.method.temperature=5",
            f"seed={seed}",
            "data.root=my pictures",
        ]
        status.write_text(status.read_text().replace('"status"', f'"overrides": {words!r}, "status"'.replace("'", '"')))
    rows = tabled(study).rows
    assert shlex.split(rows.command(rows.rows[0])) == [
        *("python", "run.py", "-m", "sweep=weighting", "weighting=dwa", "weighting.method.temperature=choice(5)"),
        *("seed=0,1,2", "data.root=my pictures", "hydra.sweeper.blocks=null"),
    ]


def test_a_row_is_found_by_label_or_weighting(study, write_run):
    write_run("dwa", weighting__method__temperature=2)
    write_run("dwa", weighting__method__temperature=4)
    rows = tabled(study).rows
    assert rows.find("dwa temperature=4").keys == {"temperature": "4"}
    assert rows.find("dwa").keys == {"temperature": "2"}
    with pytest.raises(ValueError, match=r"^no row is called 'dws'; expected one of dwa temperature=2, dwa temp"):
        rows.find("dws")


def test_rows_with_rates_of_their_own_are_tuned_and_compared(study, write_run):
    for name, lr in (("sum", 0.001), ("dwa", 0.1), ("rlw", 0.01)):
        _seeds(write_run, name, optimizer__lr=lr)
    made = tabled(study)
    assert [row.label for row in made.rows.rows] == ["sum lr=0.001", "dwa lr=0.1", "rlw lr=0.01"]
    compared = made.comparisons.of(SCORE)
    assert {one.baseline.label for one in compared.values()} == {"sum lr=0.001"}
    assert len(compared) == 2


def test_a_rate_that_one_weighting_has_several_of_is_a_factor_and_what_stands_alone_is_said(study, write_run):
    for lr in (0.1, 0.01):
        _seeds(write_run, "sum", optimizer__lr=lr)
    made = tabled(study)
    assert made.comparisons.of(SCORE) == {}
    assert any(
        "no other row has their settings" in note and "sum lr=0.01, sum lr=0.1" in note for note in made.caption.notes
    )
    assert len(tabled(study, by=["lr"]).comparisons.of(SCORE)) == 1
