from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from mtl.claim import _born
from mtl.report.collect import collect


def _row(folder: Path, run: Path) -> dict[str, Any]:
    rows = collect(folder).runs.set_index("run").to_dict("index")
    return rows[run.name]


def test_a_finished_run_becomes_one_row_and_one_line_per_number(study, write_run):
    run = write_run("dwa", seed=3, mae=9.5)
    collected = collect(study)
    assert len(collected.runs) == 1
    row = collected.runs.iloc[0].to_dict()
    expected = {
        "study": "small",
        "run": run.name,
        "directory": str(run),
        "status": "done",
        "error": "",
        "seed": 3,
    }
    expected |= {"weighting": "dwa", "data": "trees", "synthetic": True, "tasks": "age+sick+species"}
    expected |= {"selected_epoch": 4, "step_ms": 103.2, "images_per_s": 620.0, "peak_mib": 410.5}
    assert {key: row[key] for key in expected} == expected
    values = {tuple(line[1:4]): line[4] for line in collected.values.itertuples(index=False)}
    assert values["test", "age", "mae_years"] == 9.5
    assert values["trivial", "species", "accuracy"] == 0.425
    assert values["val", "", "score"] == 0.41
    assert values["test", "", "score"] == pytest.approx(
        0.588936, abs=1e-6
    )  # by hand: skills 0.365398, 0.773585, 0.627826
    # 8 metrics in 3 splits, and the score of val and test
    assert len(collected.values) == len(values) == 26


def test_runs_without_results_are_listed_with_the_reason(study, write_run):
    write_run("sum")
    failed = write_run("dwa", "failed", error=RuntimeError("first line\nsecond line"))
    stopped = write_run("rlw", "interrupted")
    assert len(collect(study).runs) == 3
    assert _row(study, failed)["status"] == "failed"
    assert _row(study, failed)["error"] == "RuntimeError: first line"
    assert _row(study, failed)["weighting"] == "dwa"
    assert _row(study, stopped)["status"] == "interrupted"
    assert "same command" in _row(study, stopped)["error"]


def test_a_run_that_failed_before_it_had_a_config_is_listed(study, write_run):
    write_run("sum")
    failed = write_run("dwa", "failed", error=ValueError("no such picture"))
    (failed / "config.yaml").unlink()
    assert _row(study, failed)["status"] == "failed"
    assert _row(study, failed)["error"] == "no such picture"
    assert _row(study, failed)["weighting"] is None


@pytest.mark.parametrize(("alive", "status"), [(True, "running"), (False, "interrupted")])
def test_a_running_run_counts_as_running_only_while_its_process_lives(study, write_run, alive, status):
    run = write_run("sum", "running")
    claim = run / ".claim.1"  # this process's: made that of its parent, or of one that is dead
    who = json.loads(claim.read_text()) | {"pid": os.getppid(), "born": _born(os.getppid()) if alive else "1"}
    claim.write_text(json.dumps(who))
    row = _row(study, run)
    assert row["status"] == status
    assert ("last sign of life" in row["error"]) == (status == "running")


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("status.json", None, "status.json is missing"),
        ("status.json", '{"status": "do', "status.json is damaged"),
        ("status.json", '{"status": "finished"}', "unknown status 'finished'"),
        ("status.json", "[]", "status.json is damaged"),
        ("status.json", "{}", "status.json is missing or damaged"),
        ("config.yaml", None, "config.yaml is missing"),
        ("config.yaml", "", "config.yaml is damaged"),
        ("config.yaml", "a: [1", "config.yaml is damaged"),
        ("config.yaml", "seed: 1", "lack the key 'names'"),
        ("metrics.json", None, "metrics.json is missing"),
        ("metrics.json", "", "metrics.json is damaged"),
        ("metrics.json", "\xff\x00", "metrics.json is damaged"),
        ("metrics.json", '{"selected_epoch": 1, "val": {}}', "lack the key 'test'"),
        ("metrics.json", '{"selected_epoch": 1, "val": 3}', "not the expected form"),
        (
            "metrics.json",
            '{"selected_epoch": 1, "val": {"age": {"mae_years": "ten"}}}',
            "not the expected form",
        ),
        ("cost.json", None, "cost.json is missing"),
        ("cost.json", "7", "cost.json is damaged"),
    ],
)
def test_a_run_that_cannot_be_read_is_listed_and_the_others_stay(study, write_run, file, content, reason):
    good, bad = write_run("sum"), write_run("dwa")
    if content is None:
        (bad / file).unlink()
    else:
        (bad / file).write_bytes(content.encode("latin-1"))
    row = _row(study, bad)
    assert row["status"] == "unreadable"
    assert reason in row["error"]
    assert "\n" not in row["error"]
    assert list(collect(study).done["run"]) == [good.name]
    assert set(collect(study).values["run"]) == {good.name}


def test_a_copied_run_is_no_further_seed(study, write_run):
    run = write_run("sum", seed=0)
    write_run("sum", seed=1)
    shutil.copytree(run, study / "z-backup")
    assert _row(study, study / "z-backup")["status"] == "copy"
    assert run.name in _row(study, study / "z-backup")["error"]
    assert len(collect(study).done) == 2


def test_other_folders_and_files_are_no_runs(study, write_run):
    run = write_run("sum")
    (study / "figures").mkdir()
    (study / "multirun.yaml").write_text("hydra: {}")
    assert list(collect(study).runs["run"]) == [run.name]


def test_keys_are_compared_between_runs_of_the_same_weighting(study, write_run):
    write_run("sum")
    write_run("dwa", weighting__method__temperature=2.0)
    assert collect(study).keys == {}
    hot = write_run("dwa", weighting__method__temperature=4.0)
    assert collect(study).keys == {"weighting.method.temperature": "temperature"}
    assert _row(study, hot)["temperature"] == 4.0
    assert collect(study).runs["temperature"].isna().tolist() == [False, False, True]


def test_what_does_not_change_the_result_is_no_key(study, write_run):
    write_run("sum")
    write_run("dwa", seed=1, data__root="elsewhere", train__device="cuda", runs_dir="/scratch")
    assert collect(study).keys == {}


def test_a_chosen_option_is_one_column_with_its_own_keys_only_where_they_differ(study, write_run):
    write_run("sum")
    write_run("sum", names__backbone="mobilenet", backbone={"_target_": "MobileNet", "width": 0.5})
    assert collect(study).keys == {"names.backbone": "backbone"}
    write_run("sum", names__backbone="mobilenet", backbone={"_target_": "MobileNet", "width": 1.0})
    assert collect(study).keys == {"names.backbone": "backbone", "backbone.width": "width"}


def test_columns_have_the_shortest_name_that_is_unique(study, write_run):
    write_run("sum", weighting__method__weights={"age": 2})
    write_run("sum", weighting__method__weights={"age": 20})
    write_run("sum", optimizer__lr=0.1)
    assert collect(study).keys == {"weighting.method.weights.age": "weights.age", "optimizer.lr": "lr"}
    write_run("dwa", control__lr=0.1)  # the rate of a method's own parameters: compared within a method
    write_run("pcgrad", control={"lr": 0.025, "heads": "raw"})  # its authors' default
    assert not {"control.lr", "control.heads"} & set(collect(study).keys)
    write_run("sum", control__lr=0.1)
    keys = collect(study).keys
    assert keys["optimizer.lr"] == "optimizer.lr"
    assert keys["control.lr"] == "control.lr"


def test_null_and_no_key_are_told_apart(study, write_run):
    write_run("sum")
    write_run("sum", train__clip=None)
    collected = collect(study)
    assert collected.keys == {"train.clip": "clip"}
    assert sorted(map(str, collected.runs["clip"])) == ["None", "null"]


def test_unfinished_runs_decide_no_column(study, write_run):
    write_run("sum")
    write_run("dwa", "failed", error=RuntimeError("no"), train__epochs=50)
    assert collect(study).keys == {}
    assert collect(study).shared["train.epochs"] == 5


def test_hashes_are_cut_and_lists_joined(study, write_run):
    write_run("sum")
    other = write_run("sum", data__fingerprint="cd" * 32, tasks=["age", "sick"])
    row = _row(study, other)
    assert (row["fingerprint"], row["tasks"]) == ("cdcdcdcd", "age+sick")


def test_what_is_no_study_is_one_sentence(study, write_run):
    run = write_run("sum")
    with pytest.raises(ValueError, match=r"^there is no folder .*missing; give the folder of a study"):
        collect(study / "missing")
    with pytest.raises(ValueError, match=rf"is one run; give its study: {study}$"):
        collect(run)
    with pytest.raises(ValueError, match=r"holds no run .*; the studies in it: small$"):
        collect(study.parent)
    (study.parent / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no run \(no subfolder with a status.json or config.yaml\)$"):
        collect(study.parent / "empty")


def test_a_thousand_runs_take_seconds(study, write_run):
    for seed in range(100):
        write_run("sum", seed=seed, settings={f"key{i}": [i, "text"] for i in range(60)})
    collect(study)  # imports
    start = time.process_time()
    collect(study)
    assert time.process_time() - start < 0.5
