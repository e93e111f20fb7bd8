from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from helpers_report import tabled

from mtl.report.latex import to_document, to_latex

needs_latex = pytest.mark.skipif(
    not (shutil.which("pdflatex") and shutil.which("pdftotext")), reason="pdflatex and pdftotext are not installed"
)
HOSTILE = r"[f] a_b & 50% $x$ #1 {c} ~ ^ \input <d> |e|"


def _float(made):
    return to_latex(made.table, made.caption, made.study.name)


def _three(write_run, name="dwa"):
    for seed, spread in enumerate([0.05, -0.05, 0.0]):
        write_run("sum", seed=seed, mae=10 + spread)
        write_run(name, seed=seed, mae=9 - spread)
        write_run("rlw", seed=seed, mae=11 + spread / 2)


def _compile(folder, text):
    (folder / "table.tex").write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-3000:]
    printed = subprocess.run(["pdftotext", "-layout", "table.pdf", "-"], cwd=folder, capture_output=True, text=True)
    return printed.stdout, done.stdout


@needs_latex
def test_the_document_compiles_as_it_is_and_prints_names_literally(study, write_run, tmp_path):
    _three(write_run, HOSTILE)
    printed, log = _compile(tmp_path, to_document(_float(tabled(study))))
    assert HOSTILE in re.sub(r"\s+", " ", printed.replace("“", '"'))
    assert "Overfull" not in log
    assert "(synthetic)" in printed
    assert "Missing character" not in log


@needs_latex
def test_the_float_goes_into_a_paper_with_booktabs(study, write_run, tmp_path):
    _three(write_run)
    (tmp_path / "table_input.tex").write_text(_float(tabled(study)), encoding="utf-8")
    paper = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n\\input{table_input}\n\\end{document}\n"
    printed, _ = _compile(tmp_path, paper)
    assert "Table 1" in printed
    assert "trivial" in printed


def test_bold_and_underline_only_where_the_interval_says_so(study, write_run):
    _three(write_run)
    made = tabled(study)
    rows = {line.split(" &")[0]: line for line in _float(made).splitlines() if line.endswith(r"\\") and " & " in line}
    assert r"{\boldmath\textbf{9.00 $\pm$ 0.05}}" in rows["dwa"]
    assert r"\underline{11.00 $\pm$ 0.03}" in rows["rlw"]
    assert "textbf" not in rows["sum"]
    assert "underline" not in rows["sum"]
    # accuracies are equal in all runs: neither
    assert rows["dwa"].count("textbf") == rows["rlw"].count("underline") == 2  # the age and the score
    one_seed = tabled(study, level=0.99999)
    assert "textbf" not in _float(one_seed)


def test_the_caption_states_what_a_reader_must_know(study, write_run):
    _three(write_run)
    caption = re.search(r"\\caption\{(.*)\}", _float(tabled(study))).group(1)
    for fact in (
        "trees (synthetic)",
        "its split 0",
        "data hash abababab",
        "epochs 5",
        "n = 3 seeds",
        "epoch of the best validation score",
        r"95 \% intervals over seeds, simultaneous",
    ):
        assert fact in caption


def test_a_letter_that_pdflatex_has_not_is_its_code_point(study, write_run):
    write_run("sum", optimizer__lr="λ")
    write_run("sum", optimizer__lr="é")
    text = _float(tabled(study))
    assert "U+03BB" in text
    assert "é" in text
