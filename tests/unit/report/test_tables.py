from __future__ import annotations

import math

import pytest
from helpers_report import tabled

from mtl.report.rows import SINGLE
from mtl.report.tables import to_records


def _labels(table):
    return [(row.weighting, *row.keys.values()) for row in table.rows if row.weighting != "trivial"]


def test_mean_and_spread_over_seeds_by_hand(study, write_run):
    for seed, mae in enumerate([9.0, 10.0, 12.5]):
        write_run("sum", seed=seed, mae=mae)
    row = tabled(study).table.rows[0]
    cell = row.cells["test/age/mae_years"]
    assert (row.seeds, cell.n) == (3, 3)
    assert cell.mean == pytest.approx(10.5)
    # deviations -1.5, -0.5, 2: squares 2.25 + 0.25 + 4 = 6.5, over n - 1 = 2
    assert cell.std == pytest.approx(math.sqrt(3.25))


def test_one_seed_has_no_spread(study, write_run):
    write_run("sum")
    assert all(cell.std is None and cell.n == 1 for cell in tabled(study).table.rows[0].cells.values())


def test_columns_are_the_test_metrics_the_score_and_the_time(study, write_run):
    write_run("sum", step_ms=55.5)
    table = tabled(study).table
    of_classes = ["accuracy", "balanced_accuracy", "f1_macro"]
    tasks = {"age": ["mae_years", "rmse_log"], "sick": of_classes, "species": of_classes}
    expected = [f"test/{task}/{metric}" for task, metrics in tasks.items() for metric in metrics]
    assert [column.key for column in table.columns] == [*expected, "test/score", "val/score", "step_ms"]
    primary = [column.key for column in table.columns if column.primary]
    assert primary[:3] == ["test/age/mae_years", "test/sick/accuracy", "test/species/accuracy"]
    cells = table.rows[0].cells
    assert (cells["val/score"].mean, cells["step_ms"].mean) == (41.0, 55.5)
    # skills 1 - 10 / 14.97, (0.892 - 0.523) / 0.477, (0.786 - 0.425) / 0.575
    assert cells["test/score"].mean == pytest.approx(100 * (0.331997 + 0.773585 + 0.627826) / 3, rel=1e-5)
    directions = {column.key: column.higher for column in table.columns}
    assert directions["test/age/mae_years"] is False
    assert directions["test/age/rmse_log"] is False
    assert directions["test/sick/f1_macro"] is True
    assert directions["val/score"] is True
    assert directions["step_ms"] is False


def test_rows_are_sum_then_by_name_then_single_tasks_then_trivial(study, write_run):
    for tasks in (["species"], ["age"], ["sick"]):
        write_run("sum", tasks=tasks)
        write_run("dwa", tasks=tasks)
    for weighting in ("uncertainty", "sum", "dwa", "constant"):
        write_run(weighting)
    table = tabled(study).table
    everything = "age+sick+species"
    assert _labels(table) == [
        ("sum", everything),
        ("constant", everything),
        ("dwa", everything),
        ("uncertainty", everything),
        ("dwa", "age"),
        ("dwa", "sick"),
        ("dwa", "species"),
        (SINGLE, everything),  # those of `sum`, put together
    ]
    assert table.rows[-1].weighting == "trivial"


def test_a_run_with_fewer_tasks_fills_only_their_columns(study, write_run):
    write_run("sum")
    write_run("sum", tasks=["age"])
    write_run("sum", tasks=["age", "sick"])
    rows = {row.keys["tasks"]: set(row.cells) for row in tabled(study).table.rows if row.weighting == "sum"}
    assert rows["age"] == {"test/age/mae_years", "test/age/rmse_log", "step_ms"}
    assert "val/score" not in rows["age+sick"]
    assert "val/score" in rows["age+sick+species"]


def test_every_key_that_differs_is_a_column_and_splits_rows(study, write_run):
    for lr in (0.1, 0.01, 1.5):
        for seed in (0, 1):
            write_run("sum", seed=seed, optimizer__lr=lr)
    write_run("dwa", weighting__method__temperature=2, optimizer__lr=0.1)
    write_run("dwa", weighting__method__temperature=10, optimizer__lr=0.1)
    table = tabled(study).table
    assert table.keys == ["temperature", "lr"]
    assert [(row.weighting, *row.keys.values(), row.seeds) for row in table.rows[:-1]] == [
        ("sum", "", "0.01", 2),
        ("sum", "", "0.1", 2),  # rows of one learning rate are compared, and stand together
        ("dwa", "2", "0.1", 1),
        ("dwa", "10", "0.1", 1),
        ("sum", "", "1.5", 2),
    ]


def test_tasks_are_the_last_key(study, write_run):
    write_run("sum", optimizer__lr=0.1)
    write_run("sum", tasks=["age"])
    assert tabled(study).table.keys == ["lr", "tasks"]


def test_trivial_guess_is_one_row_per_data_set_without_spread(study, write_run):
    for seed in (0, 1):
        write_run("sum", seed=seed)
        write_run("sum", seed=seed, data__image_size=64)
        write_run("sum", seed=seed, tasks=["age"])
    trivial = [row for row in tabled(study).table.rows if row.weighting == "trivial"]
    assert [row.keys["image_size"] for row in trivial] == ["32", "64"]
    cell = trivial[0].cells["test/age/mae_years"]
    assert (cell.mean, cell.std) == (14.97, None)
    assert trivial[0].cells["test/species/accuracy"].mean == 0.425
    assert not {"val/score", "test/score", "step_ms"} & set(trivial[0].cells)


def test_an_undefined_metric_lowers_its_own_n(study, write_run):
    for seed, mae in enumerate([9.0, None, 11.0]):
        write_run("sum", seed=seed, mae=mae)
    row = tabled(study).table.rows[0]
    cell = row.cells["test/age/mae_years"]
    assert (row.seeds, cell.n, cell.mean) == (3, 2, 10.0)


def test_only_finished_runs_enter(study, write_run):
    write_run("sum")
    write_run("sum", "interrupted", seed=1)
    write_run("dwa", "failed", error=RuntimeError("no"))
    assert _labels(tabled(study).table) == [("sum",)]


def test_no_finished_run_is_one_sentence(study, write_run):
    write_run("sum", "failed", error=RuntimeError("no"))
    with pytest.raises(ValueError, match=r"^no run in .* is finished: there is no table yet$"):
        tabled(study)


def test_records_have_mean_spread_and_n_in_full_precision(study, write_run):
    for seed, mae in enumerate([9.0, 9.1, 9.3]):
        write_run("sum", seed=seed, mae=mae)
    first, trivial = to_records(tabled(study).table)
    assert first["weighting"] == "sum"
    assert first["seeds"] == 3
    assert first["test/age/mae_years/mean"] == pytest.approx(27.4 / 3, rel=1e-15)
    assert first["test/age/mae_years/std"] > 0
    assert first["test/age/mae_years/n"] == 3
    assert trivial["seeds"] is None
    assert trivial["test/age/mae_years/mean"] == 14.97
    assert trivial["test/age/mae_years/n"] is None
