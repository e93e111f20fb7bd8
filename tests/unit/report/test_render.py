from __future__ import annotations

import csv
import io
import json
import re
import sys
from xml.etree import ElementTree

import pytest
from helpers_report import tabled
from markdown_it import MarkdownIt
from rich.console import Console

from mtl.report import render, report
from mtl.report.__main__ import main
from mtl.report.tables import to_records


@pytest.fixture
def three_rows(study, write_run):
    """A study of three tasks: two weightings, one network per task, and the row of the trivial guess."""
    for seed, (sum_mae, dwa_mae) in enumerate([(10.16, 8.0), (10.01, 8.2), (9.86, 8.1)]):
        write_run("sum", seed=seed, mae=sum_mae)
        write_run("uncertainty", seed=seed, mae=dwa_mae)
        for task in ("age", "sick", "species"):
            write_run("sum", seed=seed, tasks=[task], mae=9.5)
    return study


def _drawn(folder, width):
    """The lines of the table on a terminal of this width, None if it does not fit."""
    drawn = render.to_rich(tabled(folder).table, width)
    console = Console(width=width, file=io.StringIO(), force_terminal=True, no_color=True)
    console.print(drawn)
    return drawn and re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue()).splitlines()


def test_text_shows_mean_and_spread_aligned(three_rows):
    lines = render.to_text(tabled(three_rows).table).splitlines()
    assert lines[0].split() == ["weighting", "age", "sick", "species", "score", "Δm", "step", "seeds"]
    assert " ".join(lines[1].split()) == "MAE (years) ↓ accuracy ↑ accuracy ↑ (points) ↑ (%) ↑ (ms) ↓"
    assert re.split(r" {2,}", lines[3]) == [
        "sum", "10.01 ± 0.15", "0.892 ± 0.000", "0.786 ± 0.000", "57.76 ± 0.33", "-1.79 ± 0.53", "103.2", "3",
    ]  # fmt: skip
    # 10.01, 8.10, 9.50: decimal points under each other
    assert len({line.index(".") for line in lines[3:6]}) == 1
    assert lines[-1].split() == ["trivial", "14.97", "0.523", "0.425"]


def test_text_of_three_tasks_fits_110_columns(three_rows):
    assert max(map(len, render.to_text(tabled(three_rows).table).splitlines())) <= 110


@pytest.mark.parametrize(("width", "one_line"), [(140, True), (110, True), (80, False)])
def test_a_terminal_shows_every_number_whole(three_rows, width, one_line):
    lines = _drawn(three_rows, width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    # with mean and spread: three tasks and the score of all rows, and the change against the last of them
    assert len(re.findall(r"± \d\.\d\d+", text)) == 3 * 4 + 2
    assert ("10.01 ± 0.15" in text) == one_line
    for number in ("10.01", "8.10", "14.97", "0.425", "103.2"):
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.])", text)


def test_a_table_too_wide_for_the_terminal_is_not_cut(three_rows):
    assert _drawn(three_rows, 60) is None


@pytest.mark.parametrize(
    ("step_ms", "text"), [(0.1018, "0.1018"), (9.87, "9.870"), (103.24, "103.2"), (12345.6, "12346")]
)
def test_numbers_with_a_unit_have_four_digits(study, write_run, step_ms, text):
    write_run("sum", step_ms=step_ms)
    assert render.to_text(tabled(study).table).splitlines()[3].split()[-2] == text


def test_a_metric_that_some_seeds_lack_says_its_n(study, write_run):
    for seed, mae in enumerate([9.0, None, 11.0]):
        write_run("sum", seed=seed, mae=mae)
    assert "10.00 ± 1.41 (n=2)" in render.to_text(tabled(study).table)


def test_markdown_carries_all_metrics_and_is_a_table_whatever_the_names(study, write_run):
    write_run("sum")
    write_run("a|b", optimizer__lr="x|y")
    write_run("dwa", "failed", error=RuntimeError("bad | <b>value</b> `x`\nmore"))
    made = tabled(study)
    text = render.to_markdown(made.study, made.table, made.caption)
    html = MarkdownIt("gfm-like", {"linkify": False}).disable("linkify").render(text)
    tree = ElementTree.fromstring(f"<body>{html}</body>")
    rows = [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]
    rows = rows[:4]
    assert {len(row) for row in rows} == {1 + 1 + 8 + 3 + 1}
    assert rows[0][:3] == ["weighting", "lr", "age MAE (years) ↓"]
    assert rows[0][-6:] == [
        "species balanced accuracy ↑",
        "species macro F1 ↑",
        "score (points) ↑",
        "val/score (points) ↑",
        "step (ms) ↓",
        "seeds",
    ]
    assert rows[2][:2] == ["a|b", "x|y"]
    items = ["".join(item.itertext()) for item in tree.iter("li")]
    assert items[0].startswith("a|b lr=x|y - sum lr=0.003 = ")
    assert len(items) == 2
    assert items[1].startswith("failed dwa-resnet18-")
    assert items[1].endswith("RuntimeError: bad | <b>value</b> `x`")
    assert str(study.parent) not in text


def test_csv_has_plain_names_and_full_precision(three_rows):
    records = list(csv.DictReader(io.StringIO(render.to_csv(to_records(tabled(three_rows).table)))))
    assert len(records) == 4
    assert all(re.fullmatch(r"[a-z0-9_/.]+", name) for name in records[0])
    assert float(records[0]["test/age/mae_years/mean"]) == pytest.approx(30.03 / 3, rel=1e-15)
    assert records[0]["test/age/mae_years/std"].startswith("0.1500000")
    assert records[2]["weighting"] == "single-task"
    assert records[2]["delta_m/mean"] == ""


def test_caption_says_what_the_numbers_rest_on(study, write_run):
    write_run("sum")
    write_run("dwa")
    write_run("dwa", seed=1)
    text = " ".join(tabled(study).caption.lines)
    for fact in (
        "Data: trees (synthetic);",
        "tasks age, sick, species;",
        "its split 0;",
        "data hash abababab;",
        "epochs 5.",
        "Test split at the epoch of the best validation score; test set used once",
        "mean ± standard deviation (n - 1) over n = 1 to 2 seeds",
        "↓ lower is better, ↑ higher is better",
        "milliseconds per training step",
        "trivial: always guessing the training median",
    ):
        assert fact in text


def test_caption_of_real_data_and_of_a_single_run(study, write_run):
    write_run("sum", names__data="utkface", data__synthetic=False)
    text = " ".join(tabled(study).caption.lines)
    assert "Data: utkface;" in text
    assert "synthetic" not in text
    assert "one seed per row: no spread" in text
    assert "One configuration: nothing to compare it with yet." in text


def test_what_differs_between_rows_is_no_fact_of_the_caption(study, write_run):
    write_run("sum")
    write_run("sum", train__epochs=10, names__data="utkface", data__synthetic=False)
    text = " ".join(tabled(study).caption.lines)
    assert "epochs" not in text
    assert "trees (synthetic), utkface" in text


def test_report_prints_and_replaces_the_files(three_rows, write_run, capsys):
    failed = write_run("dwa", "failed", error=RuntimeError("loss is not finite"))
    status = json.loads((failed / "status.json").read_text())
    status["error"] += "\nsecond line"
    (failed / "status.json").write_text(json.dumps(status))
    (three_rows / "table.md").write_text("old")
    assert main([str(three_rows), "--no-figures"]) == 0
    printed = capsys.readouterr().out
    assert render.to_text(tabled(three_rows).table) in printed
    assert f"failed {failed}: RuntimeError: loss is not finite\n" in printed
    assert "second line" not in printed
    names = ("table.md", "table.csv", "comparisons.csv", "table.html", "table.tex", "table_input.tex", "dashboard.html")
    first = {name: (three_rows / name).read_text() for name in names}
    assert first["table.md"].startswith("# Study small\n")
    assert main([str(three_rows), "--no-figures"]) == 0
    assert {name: (three_rows / name).read_text() for name in first} == first
    assert {path.name for path in three_rows.iterdir() if path.is_file()} == set(first)


def test_report_without_a_finished_run_lists_the_reasons(study, write_run, capsys):
    failed = write_run("sum", "failed", error=RuntimeError("no"))
    assert main([str(study)]) == 1
    printed = capsys.readouterr().out
    assert f"failed {failed}: RuntimeError: no" in printed
    assert f"No run in {study} is finished" in printed
    assert not (study / "table.md").exists()


def test_a_wrong_folder_is_one_sentence_and_exit_code_2(study, write_run, capsys):
    run = write_run("sum")
    for folder in (study / "missing", run, study.parent):
        assert main([str(folder)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("mtl.report: ")
        assert captured.err.count("\n") == 1


def test_a_folder_that_cannot_be_written_still_shows_the_table(study, write_run, capsys):
    write_run("sum")
    (study / "table.md").mkdir()
    assert main([str(study)]) == 2
    captured = capsys.readouterr()
    assert "MAE (years)" in captured.out
    assert captured.err.startswith("mtl.report: ")


def test_an_encoding_without_arrows_loses_the_arrows_only(study, write_run, monkeypatch):
    write_run("sum")
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    report([study], figures=False)
    stdout.flush()
    assert b"MAE (years) ?" in stdout.buffer.getvalue()
    assert "↓" in (study / "table.md").read_text(encoding="utf-8")
