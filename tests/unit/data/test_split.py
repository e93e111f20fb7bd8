from __future__ import annotations

import numpy as np

from mtl.data.split import part, split


def test_the_published_rule() -> None:
    # printf %s "0:a.jpg" | sha256sum: first 16 digits / 2^64 behind each line
    assert part("a.jpg", 0) == "test"  # 0x2d1ae7f85afc142c: 0.1762
    assert part("l.jpg", 0) == "val"  # 0x450d...: 0.2697
    assert part("100_0_0_20170112213500903.jpg.chip.jpg", 0) == "train"  # 0x4de8de851263dc09: 0.3043
    assert part("100_0_0_20170112213500903.jpg.chip.jpg", 1) == "train"  # 0xc2d4449269914a27: 0.7611


def test_parts_share_out_every_picture_once() -> None:
    names = [f"{i}.jpg" for i in range(10_000)]
    parts = split(names, 0)
    assert list(parts) == ["train", "val", "test"]
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(10_000))
    for name, share in {"train": 0.7, "val": 0.1, "test": 0.2}.items():
        assert abs(len(parts[name]) / 10_000 - share) < 0.015
        assert parts[name].dtype == np.int64
        assert np.all(np.diff(parts[name]) > 0)
    assert not np.array_equal(parts["test"], split(names, 1)["test"])


def test_pictures_of_one_name_stay_together_and_none_depends_on_others() -> None:
    names = [f"{i // 3}.jpg" for i in range(300)]
    for indices in split(names, 0).values():
        assert np.bincount(indices // 3, minlength=100).tolist().count(3) == len(indices) // 3
    assert [part(name, 0) for name in names] == [part(name, 0) for name in reversed(names)][::-1]


def test_no_pictures() -> None:
    assert [len(indices) for indices in split([], 0).values()] == [0, 0, 0]
