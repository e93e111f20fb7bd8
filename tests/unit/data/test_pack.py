from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pictures import FIELDS, archive, encode, fill, scene, write

from mtl.data.decode import decode
from mtl.data.names import Field
from mtl.data.pack import Pack, pack
from mtl.data.split import split
from mtl.data.workers import BATCH, decode_all


class Calls:
    """Counts the pictures that were decoded, through `progress`."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.seen.append((done, total))


def contents(packed: Pack) -> tuple[object, ...]:
    arrays = (packed.images, packed.labels, packed.clusters)
    return (*(array.tobytes() for array in arrays), packed.names, packed.split_names, packed.rejected)


def test_what_a_pack_holds(tmp_path: Path) -> None:
    names = fill(tmp_path / "root", 5)
    packed = pack(tmp_path / "root", FIELDS, 16, tmp_path / "cache")
    assert packed.names == names
    assert packed.labels.tolist() == [[1, 0, 0], [3, 0, 2], [5, 0, 4], [2, 1, 1], [4, 1, 3]]
    assert packed.labels.dtype == np.float32
    assert packed.split_names == [Path(name).name for name in names]
    assert packed.clusters.tolist() == [0, 1, 2, 3, 4]
    assert packed.rejected == []
    assert packed.images.shape == (5, 16, 16, 3)
    for name, image in zip(names, packed.images, strict=True):
        assert image.tobytes() == decode((tmp_path / "root" / name).read_bytes(), 16)[0]
    assert isinstance(packed.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        packed.images[0] = 0


def test_an_archive_gives_what_its_folder_gives(tmp_path: Path) -> None:
    names = fill(tmp_path / "root", 7)
    members = {name: (tmp_path / "root" / name).read_bytes() for name in reversed(names)}
    write(tmp_path / "root" / "notes.txt", b"x")
    tar = archive(tmp_path / "a.tar.gz", {"notes.txt": b"x", **members})
    folder, packed = (pack(path, FIELDS, 16, tmp_path / "cache") for path in (tmp_path / "root", tar))
    assert contents(folder) == contents(packed)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix == ".jpg"]


def test_pictures_that_cannot_be_used_are_left_out_with_a_reason(tmp_path: Path) -> None:
    root = tmp_path / "root"
    names = fill(root, 6)
    good = (root / names[0]).read_bytes()
    for name, content in {
        "0_0_0_range.jpg": good,
        "3_0_0_cut.jpg": good[: len(good) // 2],
        "3_0_0_text.jpg": b"hello",
        "3_0_0_zero.jpg": b"",
        "61_1_partial.jpg": good,
        "portrait.jpg": good,
    }.items():
        write(root / name, content)
    calls = Calls()
    packed = pack(root, FIELDS, 16, tmp_path / "cache", progress=calls)
    assert packed.names == names
    assert [name for name, _ in packed.rejected] == [
        "0_0_0_range.jpg", "3_0_0_cut.jpg", "3_0_0_text.jpg", "3_0_0_zero.jpg", "61_1_partial.jpg", "portrait.jpg"
    ]  # fmt: skip
    assert all(reason for _, reason in packed.rejected)
    for name, image in zip(names, packed.images, strict=True):
        assert image.tobytes() == decode((root / name).read_bytes(), 16)[0]
    assert calls.seen[-1] == (8, 8)  # neither malformed nor empty files are decoded


def test_partial_labels(tmp_path: Path) -> None:
    fill(tmp_path / "root", 3)
    write(tmp_path / "root" / "61_1_2017.jpg.chip.jpg", encode(scene(9)))
    skipped = pack(tmp_path / "root", FIELDS, 16, tmp_path / "cache", partial_labels="skip")
    masked = pack(tmp_path / "root", FIELDS, 16, tmp_path / "cache", partial_labels="mask")
    assert (len(skipped.names), len(masked.names)) == (3, 4)
    row = masked.labels[masked.names.index("61_1_2017.jpg.chip.jpg")]
    assert row.tolist() == pytest.approx([61, np.nan, np.nan], nan_ok=True)
    with pytest.raises(ValueError, match=r"data.partial_labels should be 'skip' or 'mask', found 'drop'"):
        pack(tmp_path / "root", FIELDS, 16, tmp_path / "cache", partial_labels="drop")


def test_near_duplicates_share_a_split_name(tmp_path: Path) -> None:
    root = tmp_path / "root"
    fill(root, 20)
    write(root / "9_1_4_twin.jpg", encode(scene(3), quality=60))
    write(root / "a" / "10_1_4_other_twin.jpg", encode(scene(3, 60, 60)))
    with_clusters = [pack(root, FIELDS, size, tmp_path / "cache") for size in (8, 64, 150)]
    found = dict(zip(with_clusters[0].names, with_clusters[0].split_names, strict=True))
    assert found["9_1_4_twin.jpg"] == found["a/10_1_4_other_twin.jpg"] == found["sub/4_1_3_00003.jpg"]
    assert found["9_1_4_twin.jpg"] == "10_1_4_other_twin.jpg"
    assert len(set(found.values())) == 20
    assert len({(tuple(packed.split_names), packed.clusters.tobytes()) for packed in with_clusters}) == 1
    alone = pack(root, FIELDS, 8, tmp_path / "cache", near_duplicates=False)
    assert alone.split_names == [Path(name).name for name in alone.names]
    assert len(set(alone.clusters.tolist())) == 22


def test_packed_once_and_again_where_anything_differs(tmp_path: Path) -> None:
    root, cache = tmp_path / "root", tmp_path / "cache"
    fill(root, 3)
    ranges = [*FIELDS[:2], Field("kind", 0, 3)]

    def decoded(fields: list[Field] = FIELDS, size: int = 16, **options: str | bool) -> int:
        calls = Calls()
        pack(root, fields, size, cache, progress=calls, **options)  # type: ignore[arg-type]
        return len(calls.seen)

    variants = ({}, {"size": 17}, {"fields": ranges}, {"partial_labels": "mask"}, {"near_duplicates": False})
    assert [decoded(**variant) for variant in variants] == [1] * 5  # type: ignore[arg-type]
    assert [decoded(**variant) for variant in variants] == [0] * 5  # type: ignore[arg-type]
    shutil.move(root, tmp_path / "moved")
    root = tmp_path / "moved"
    assert decoded() == 0
    write(root / "7_0_0_new.jpg", encode(scene(7)))
    assert decoded() == 1


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "root", 150)
    write(tmp_path / "root" / "3_0_0_text.jpg", b"hello")
    one, three = (pack(tmp_path / "root", FIELDS, 16, tmp_path / str(n), workers=n) for n in (1, 3))
    assert contents(one) == contents(three)


def test_workers_import_nothing_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "root", 3)
    write(tmp_path / "here" / "PIL.py", b"raise ImportError('a file of the user')")
    monkeypatch.chdir(tmp_path / "here")
    assert len(pack(tmp_path / "root", FIELDS, 16, tmp_path / "cache", workers=2).names) == 3


@pytest.mark.parametrize("file", ["images", "index.json"])
@pytest.mark.parametrize("damage", ["cut", "grown", "gone", "nonsense"])
def test_a_damaged_entry_is_packed_anew(file: str, damage: str, tmp_path: Path) -> None:
    fill(tmp_path / "root", 3)
    before = contents(pack(tmp_path / "root", FIELDS, 16, tmp_path / "cache"))
    (path,) = (tmp_path / "cache").glob(f"*/{file}")
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-1], "grown": content + b"}", "nonsense": b"[1]"}[damage])
    calls = Calls()
    assert contents(pack(tmp_path / "root", FIELDS, 16, tmp_path / "cache", progress=calls)) == before
    assert len(calls.seen) == 1


def test_a_reader_keeps_its_pictures_when_the_entry_is_replaced(tmp_path: Path) -> None:
    fill(tmp_path / "root", 3)
    packed = pack(tmp_path / "root", FIELDS, 16, tmp_path / "cache")
    before = contents(packed)
    shutil.rmtree(tmp_path / "cache")
    pack(tmp_path / "root", FIELDS, 16, tmp_path / "cache")
    assert contents(packed) == before


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    fill(tmp_path / "root", 3)
    (tmp_path / "file").write_text("x")
    for cache in (Path("/proc/nowhere"), tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=r"^data.cache=.* cannot be written \(.*\): choose another folder"):
            pack(tmp_path / "root", FIELDS, 16, cache)
    with pytest.raises(ValueError, match=r"cannot be written \(.* MiB are needed and not free\)"):
        pack(tmp_path / "root", FIELDS, 10_000_000, tmp_path / "cache")


def test_a_disk_that_fills_up_is_one_sentence(tmp_path: Path) -> None:
    fill(tmp_path / "root", 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(ValueError, match=r"cannot be written \(File too large\)"):
            pack(tmp_path / "root", FIELDS, 64, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for workers in (1, 2):
        with pytest.raises(OSError, match="No space left"):
            list(decode_all([(0, encode(scene(0)))], 1, Path("/dev/full"), 64, workers))


def test_an_entry_in_a_read_only_cache_is_used(tmp_path: Path) -> None:
    fill(tmp_path / "root", 3)
    cache = tmp_path / "cache"
    before = contents(pack(tmp_path / "root", FIELDS, 16, cache))
    for lock in cache.glob("*.lock"):
        lock.unlink()
        lock.mkdir()  # root may write anywhere, but nobody opens a folder for writing
    assert contents(pack(tmp_path / "root", FIELDS, 16, cache)) == before


def test_a_root_of_which_nothing_is_usable_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "root" / "portrait.jpg", encode(scene(0)))
    write(tmp_path / "root" / "1_0_0_text.jpg", b"hello")
    sentence = r"holds no usable picture \(rejected 2, such as '1_0_0_text.jpg': not a picture.*<size>_<ripe>_<kind>_"
    with pytest.raises(ValueError, match=sentence):
        pack(tmp_path / "root", FIELDS, 16, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/index.json"))
    with pytest.raises(ValueError, match=r"data.image_size should be at least 1 pixel, found 0"):
        pack(tmp_path / "root", FIELDS, 0, tmp_path / "cache")


def test_no_more_is_read_than_the_workers_can_take(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.touch()
    read = 0

    def pictures(num: int) -> object:
        nonlocal read
        raw = encode(scene(0))
        for index in range(num):
            read += 1
            yield index, raw

    num_done = 0
    for outcomes in decode_all(pictures(20 * BATCH), 20 * BATCH, path, 8, 2):  # type: ignore[arg-type]
        num_done += len(outcomes)
        assert read - num_done <= 3 * BATCH
    assert num_done == 20 * BATCH
    assert path.stat().st_size == 20 * BATCH * 8 * 8 * 3


def test_a_worker_that_dies_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="a decoding process ended with exit code 1"):
        list(decode_all([(0, encode(scene(0)))], 1, tmp_path / "missing", 8, 2))
    assert "FileNotFoundError" in capfd.readouterr().err


# No `if __name__ == "__main__"` and threads of torch's kind do not matter: this is how a notebook or a script calls it.
SCRIPT = """
import os, sys, time
from pathlib import Path
from mtl.data.names import Field
from mtl.data.pack import pack

def progress(done, total):
    Path(f"decoded-{os.getpid()}").touch()
    Path("children").write_text(Path(f"/proc/self/task/{os.getpid()}/children").read_text())
    time.sleep(float(sys.argv[1]))

fields = [Field("size", 1, 116), Field("ripe", 0, 1), Field("kind", 0, 4)]
packed = pack("root", fields, 16, "cache", workers=2, progress=progress)
print(int(packed.images.astype(int).sum()), len(packed.names), "torch" in sys.modules)
"""


def start(tmp_path: Path, pause: float) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-c", SCRIPT, str(pause)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True)


def test_processes_that_start_together_decode_once(tmp_path: Path) -> None:
    fill(tmp_path / "root", 3 * BATCH)
    processes = [start(tmp_path, 0.3) for _ in range(3)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [error for _, error in outputs] == [""] * 3
    assert len({output for output, _ in outputs}) == 1
    assert outputs[0][0].endswith(f" {3 * BATCH} False\n")
    assert len(list(tmp_path.glob("decoded-*"))) == 1


def test_killed_while_packing(tmp_path: Path) -> None:
    fill(tmp_path / "root", 3 * BATCH)
    killed = start(tmp_path, 600)
    wait_for(lambda: (tmp_path / "children").exists() and (tmp_path / "children").read_text())
    children = [int(pid) for pid in (tmp_path / "children").read_text().split()]
    assert len(children) == 2
    assert all(alive(pid) for pid in children)
    killed.send_signal(signal.SIGKILL)
    assert killed.communicate() == ("", "")
    wait_for(lambda: not any(alive(pid) for pid in children))
    calls = Calls()
    packed = pack(tmp_path / "root", FIELDS, 16, tmp_path / "cache", progress=calls)
    assert calls.seen[-1] == (3 * BATCH, 3 * BATCH)
    assert packed.images[:, 0, 0].any(axis=1).all()
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == ["", ".lock"]


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + 30
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_interrupted_while_packing(tmp_path: Path) -> None:
    before = children()  # of other tests: W&B's service
    fill(tmp_path / "root", 3 * BATCH)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "root", FIELDS, 16, tmp_path / "cache", workers=2, progress=interrupt)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    assert children() <= before
    assert len(pack(tmp_path / "root", FIELDS, 16, tmp_path / "cache").names) == 3 * BATCH


@pytest.mark.real
def test_real_pictures(tmp_path: Path) -> None:
    if "MTL_REAL_DATA" not in os.environ:
        pytest.skip("MTL_REAL_DATA names no folder with UTKFace.tar.gz")
    data = Path(os.environ["MTL_REAL_DATA"])
    root = data / "UTKFace.tar.gz"
    packed = pack(root, FIELDS, 32, tmp_path)
    assert packed.images.shape == (21_335, 32, 32, 3)
    assert [reason.split(",")[0] for _, reason in packed.rejected] == ["the name has 2 of 3 labels"] * 3
    sizes = {name: len(indices) for name, indices in split(packed.split_names, 0).items()}
    assert sizes == {"train": 14_931, "val": 2_110, "test": 4_294}
    assert len(pack(data / "UTKFace-tiny.tar.gz", FIELDS, 32, tmp_path, partial_labels="mask").names) == 203
    start = time.process_time()  # not of the clock: other programs may keep the machine busy
    pack(root, FIELDS, 32, tmp_path)
    assert time.process_time() - start < 0.5
