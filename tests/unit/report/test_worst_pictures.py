"""The worst test pictures against a search through all of them, from a folder, an archive, a drawn set, and none."""

from __future__ import annotations

import base64
import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers_study import TASKS, make_pictures, make_run
from PIL import Image

from mtl.report.arrange import arrange
from mtl.report.collect import collect
from mtl.report.mistakes import NUM_PICTURES, SIZE, Mistakes, mistakes
from mtl.report.runs import configs_of


@pytest.fixture
def names(tmp_path: Path) -> list[str]:
    return make_pictures(tmp_path / "pictures", 40)


def found(study: Path, names: list[str], **changes: object) -> Mistakes:
    """The mistakes of two seeds of two rows; `data__root` is data.root."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    for weighting in ("sum", "dwa"):
        for seed in range(2):
            make_run(study, weighting, seed, changes=dotted, names=names)
    rows = arrange(collect(study))
    return mistakes(rows, configs_of(rows))


def pixels(uri: str) -> np.ndarray:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"), float)


def test_the_worst_first(tmp_path, names):
    worst = found(tmp_path / "made", names, data__root=str(tmp_path / "pictures")).worst
    frames = [pd.read_csv(path) for path in sorted((tmp_path / "made").glob("dwa-*/predictions.csv"))]
    assert len(frames) == 2
    errors = sum(abs(frame["age/pred"] - frame["age/true"]) for frame in frames) / 2
    expected = [name for _, name in sorted(zip(-errors, frames[0]["id"], strict=True))][:NUM_PICTURES]
    assert [mistake.id for mistake in worst["age"]["dwa"]] == expected
    first = frames[0]["id"].tolist().index(expected[0])
    assert worst["age"]["dwa"][0].truth == f"{frames[0]['age/true'][first]} years"
    assert worst["age"]["dwa"][0].predicted == f"{(frames[0]['age/pred'] + frames[1]['age/pred'])[first] / 2:.1f} years"
    classes = TASKS["species"]["classes"]
    shares = sum(frame[[f"species/p{c}" for c in range(5)]].to_numpy() for frame in frames) / 2
    wrong = [
        (-max(share), name, f"{classes[share.argmax()]}, {100 * max(share):.0f} %", classes[truth])
        for share, name, truth in zip(shares, frames[0]["id"], frames[0]["species/true"], strict=True)
        if share.argmax() != truth
    ]
    assert len(wrong) > 0
    said = [(mistake.id, mistake.predicted, mistake.truth) for mistake in worst["species"]["dwa"]]
    assert said == [entry[1:] for entry in sorted(wrong)][:NUM_PICTURES]


def test_the_same_pictures_from_an_archive(tmp_path, names):
    with tarfile.open(tmp_path / "pictures.tar.gz", "w:gz") as archive:
        for name in names:
            archive.add(tmp_path / "pictures" / name, name)
    one = found(tmp_path / "made", names, data__root=str(tmp_path / "pictures"))
    rows = arrange(collect(tmp_path / "made"))
    configs = configs_of(rows)
    for config in configs.values():
        config["data"]["root"] = str(tmp_path / "pictures.tar.gz")
    assert mistakes(rows, configs) == one
    shown = {mistake.id for of_task in one.worst.values() for of_row in of_task.values() for mistake in of_row}
    assert set(one.copies) == shown
    name = next(iter(shown))
    original = Image.open(tmp_path / "pictures" / name).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    assert np.abs(pixels(one.copies[name]) - np.asarray(original, float)).mean() < 40  # noise is hard to compress
    others = [value for key, value in one.copies.items() if key != name]
    distance = [np.abs(pixels(value) - np.asarray(original, float)).mean() for value in others]
    assert np.abs(pixels(one.copies[name]) - np.asarray(original, float)).mean() < min(distance)


def test_drawn_pictures_are_drawn_again(tmp_path):
    from mtl.data.trees import draw

    options = {"num": 12, "seed": 3, "size": 32}
    names = sorted(path.name for path in draw(tmp_path / "elsewhere", **options).iterdir())
    spec = {"_target_": "mtl.data.trees.draw", **options}
    result = found(tmp_path / "made", names, data__draw=spec, data__cache=str(tmp_path / "cache"))
    assert result.notes == []
    assert len(result.copies) >= NUM_PICTURES


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data__root": "gone"}, "data.root of the runs is no longer there"),
        ({"data__draw": {"_target_": "os.system", "num": 1, "seed": 0, "size": 32}}, "they were drawn by os.system"),
    ],
)
def test_a_sentence_where_there_are_no_pictures(tmp_path, names, changes, words):
    result = found(tmp_path / "made", names, **changes)
    assert result.copies == {}
    assert len(result.worst["age"]["sum"]) == NUM_PICTURES
    (note,) = result.notes
    assert words in note


def test_no_predictions(tmp_path):
    result = found(tmp_path / "made", [])
    assert result.worst == {}
    assert "has no predictions.csv" in result.notes[0]
