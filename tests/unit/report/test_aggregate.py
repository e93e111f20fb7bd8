from __future__ import annotations

import json

import pytest
from helpers_report import tabled
from helpers_wandb import finished

from mtl.report.__main__ import main
from mtl.report.aggregate import workspace

EPOCHS = [
    {"epoch": 0, "val/score": 0.2, "weight/age": 1.0, "share/age": 0.5, "conflict/cos/age/sick": -0.1},
    {"epoch": 1, "val/score": 0.4, "weight/age": 2.0, "share/age": 0.6, "conflict/cos/age/sick": 0.1},
]


@pytest.fixture
def four(study, write_run, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for seed in (0, 1):
        write_run("sum", seed=seed, mae=10 + seed, history=EPOCHS)
        write_run("dwa", seed=seed, mae=9 + seed, history=EPOCHS)
        write_run("dwa", seed=seed, mae=12 + seed, history=EPOCHS, optimizer__lr=0.1)
    return study


def test_the_report_is_a_run_of_the_studys_group_and_logged_again_replaces_itself(four, capsys):
    for _ in range(2):
        assert main([str(four), "--wandb"]) == 0
    assert "W&B: run small-aggregate (offline)" in capsys.readouterr().out
    (folder,) = (four / "wandb").glob("offline-run-*")
    content = finished(four)
    assert content.run.run_group == "small"
    assert content.run.job_type == "aggregate"
    assert content.run.display_name == "small-aggregate"
    assert set(content.run.tags) == {"aggregate", "synthetic"}
    (row,) = content.rows
    assert row["table._type"] == row["comparisons._type"] == "table-file"
    logged = json.loads((folder / "files" / row["table.path"]).read_text())
    first = dict(zip(logged["columns"], logged["data"][0], strict=True))
    assert (first["weighting"], first["test/age/mae_years/mean"]) == ("sum", 10.5)
    assert row["figures/scores._type"] == "image-file"
    assert (folder / "files" / row["figures/scores.path"]).stat().st_size > 1000
    assert not list((four / "wandb").rglob("logs"))


@pytest.mark.parametrize(
    ("mode", "words"), [("sometimes", "found 'sometimes'; change WANDB_MODE"), ("online", "no API key is configured")]
)
def test_what_wandb_refuses_is_one_sentence_after_all_files(four, monkeypatch, tmp_path, capsys, mode, words):
    monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setenv("HOME", str(tmp_path))  # no key of the one who tests
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert main([str(four), "--wandb", "--no-figures"]) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert errors.count("\n") == 1
    assert (four / "table.tex").exists()


def test_the_workspace_shows_the_study_and_is_built_without_a_network(four):
    built = workspace(tabled(four).rows, "mtl", "me")
    content = built._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    assert (content["entity"], content["project"], content["displayName"]) == ("me", "mtl", "study small")
    section = content["spec"]["section"]
    sections = {one["name"]: one["panels"] for one in section["panelBankConfig"]["sections"]}
    assert list(sections) == ["Results", "Curves", "Weights", "Conflicts", "Report"]
    drawn = {name for panels in sections.values() for panel in panels for name in panel["config"].get("metrics", [])}
    assert {"val/score", "val/age/mae_years", "weight/age", "share/age", "conflict/cos/age/sick"} <= drawn
    bars = [panel["config"]["metrics"] for panel in sections["Results"] if panel["viewType"] == "Bar Chart"]
    assert ["test/age/mae_years"] in bars
    (runs,) = section["runSets"]
    assert '"group"' in json.dumps(runs["filters"])
    assert "small" in json.dumps(runs["filters"])
    assert runs["grouping"][0]["name"] == "names.value.weighting"
