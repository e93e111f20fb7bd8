"""What a study may look like when a report is asked for: every output is written, or one sentence says why not."""

from __future__ import annotations

import json

import pytest

from mtl.report.__main__ import main

OUTPUTS = ("table.md", "table.csv", "table.html", "table.tex", "comparisons.csv", "dashboard.html")
HOSTILE = "<b>a_b</b> & $x$ 50% \\ </script>"


@pytest.fixture
def reported(study, capsys):
    """`reported("--rows", "lr")` reports the study with success; what it printed."""

    def run(*options: str, figures: bool = False) -> str:
        drawn = [] if figures else ["--no-figures"]
        assert main([str(study), *options, *drawn]) == 0, capsys.readouterr().err
        captured = capsys.readouterr()
        assert captured.err == ""
        assert all((study / name).stat().st_size for name in OUTPUTS)
        return captured.out

    return run


def test_one_run(write_run, reported):
    write_run("sum")
    printed = reported(figures=True)
    assert "One configuration: nothing to compare it with yet." in printed
    assert "Against the baseline" not in printed


def test_one_seed_of_two_rows(write_run, reported):
    write_run("sum")
    write_run("dwa", mae=9.0)
    assert "dwa - sum = +2.2 skill points: one seed, no interval" in reported()


def test_other_data_and_other_splits_are_not_compared(write_run, reported, study):
    for seed in (0, 1):
        write_run("sum", seed=seed)
        write_run("dwa", seed=seed, mae=9.0, names__data="utkface", data__synthetic=False)
        write_run("rlw", seed=seed, mae=8.0, data__fingerprint="cd" * 32)
        write_run("gls", seed=seed, mae=7.0, data__split_seed=1)
    printed = reported()
    assert "dwa" in printed
    assert "rlw" in printed
    for name in ("dwa", "rlw"):
        assert f"{name} data" not in (study / "comparisons.csv").read_text()
    assert "gls" in printed
    assert "not compared, because gls" in printed
    assert "trees (synthetic)" in printed


def test_differing_metrics_and_nulls(write_run, reported):
    run = write_run("sum")
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["test"]["age"]["rmse_log"]
    metrics["test"]["sick"] = dict.fromkeys(metrics["test"]["sick"])
    metrics["val"]["score"] = None
    (run / "metrics.json").write_text(json.dumps(metrics))
    write_run("dwa")
    cost = json.loads((run / "cost.json").read_text()) | {"step_ms": None}
    (run / "cost.json").write_text(json.dumps(cost))
    assert "sum" in reported()


def test_a_damaged_line_of_a_history_is_named_and_the_others_are_drawn(write_run, reported, study):
    rows = [{"epoch": epoch, "val/score": 0.1 * epoch} for epoch in range(3)]
    run = write_run("sum", history=rows)
    lines = (run / "history.jsonl").read_text().splitlines()
    (run / "history.jsonl").write_text("\n".join([lines[0], lines[1][:9], lines[2]]) + "\n")
    assert f"{run.name}: history.jsonl is damaged in line 2" in reported(figures=True)
    assert (study / "figures" / "curves.png").exists()


def test_names_of_any_letters(write_run, reported, study):
    for seed in (0, 1):
        write_run("sum", seed=seed)
        write_run("dwa", seed=seed, mae=9.0 + seed, optimizer__lr=HOSTILE)
    assert HOSTILE in reported("--rows", "weighting,lr", figures=True)
    page = (study / "table.html").read_text()
    assert "<b>a_b" not in page
    assert "</script>" not in page
    assert "&lt;b&gt;a_b" in page


def test_a_run_that_is_still_being_written_is_listed(write_run, reported):
    write_run("sum")
    running = write_run("dwa", "running")
    printed = reported()
    assert "Not in the table:" in printed
    assert f"{running}: " in printed


def test_two_studies_as_one_need_a_place(write_run, study, tmp_path, capsys):
    write_run("sum")
    other = tmp_path / "runs" / "other"
    write_run("sum", seed=1).rename(tmp_path / "moved")
    other.mkdir()
    (tmp_path / "moved").rename(other / "moved")
    assert main([str(study), str(other)]) == 2
    assert "say with --out DIR where the report goes" in capsys.readouterr().err
    assert main([str(study), str(other), "--out", str(tmp_path / "both"), "--no-figures"]) == 0
    assert "n = 2 seeds" in capsys.readouterr().out
    assert (tmp_path / "both" / "table.md").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--baseline", "dws"], "no row is called 'dws'; expected one of sum"),
        (["--rows", "lr"], "'lr' does not differ between the finished runs"),
        (["--by", "height"], "expected one of the tasks age, sick, species"),
        (["--level", "95"], "--level 95"),
        (["--margin", "-1"], "--margin -1"),
    ],
)
def test_a_wrong_option_is_one_sentence(write_run, study, capsys, options, words):
    write_run("sum")
    assert main([str(study), *options, "--no-figures"]) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert errors.count("\n") == 1
    assert not (study / "table.md").exists()
