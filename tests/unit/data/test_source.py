from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import archive, fill, write

from mtl.data import source
from mtl.data.source import Source, open_source


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def listed(root: Path, tmp_path: Path) -> Source:
    return open_source(root, tmp_path / "cache")


def test_folder_and_archive_are_read_alike(root: Path, tmp_path: Path) -> None:
    names = fill(root, 6)
    tar = archive(tmp_path / "a.tar.gz", {name: (root / name).read_bytes() for name in reversed(names)})
    folder, packed = listed(root, tmp_path), listed(tar, tmp_path)
    assert folder.names == packed.names == names
    wanted = names[1:4]
    assert dict(folder.read(wanted)) == dict(packed.read(wanted)) == {n: (root / n).read_bytes() for n in wanted}


def test_what_is_no_picture_is_ignored(root: Path, tmp_path: Path) -> None:
    names = fill(root, 2)
    others = (".1_0_0_x.jpg", "._1_0_0_x.jpg", ".git/1_0_0_x.jpg", "__MACOSX/1_0_0_x.jpg", "sub/labels.csv", "README")
    for other in others:
        write(root / other, b"x")
    tar = archive(tmp_path / "a.tar.gz", {f"./{name}": b"x" for name in (*names, *others)})
    for found in (listed(root, tmp_path), listed(tar, tmp_path)):
        assert found.names == names
        assert found.rejected == []


def test_links_are_followed_without_loops(root: Path, tmp_path: Path) -> None:
    fill(root, 2)
    fill(tmp_path / "elsewhere", 2)
    (root / "again").symlink_to(root)
    (root / "sub" / "up").symlink_to("..")
    (root / "a").symlink_to(root / "sub")  # its pictures are listed under their own path, whatever is met first
    (root / "z").symlink_to(root / "sub")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "5_0_0_file.jpg").symlink_to(tmp_path / "elsewhere" / "1_0_0_00000.jpg")
    (root / "6_0_0_gone.jpg").symlink_to("nowhere")
    (root / "7_0_0_self.jpg").symlink_to("7_0_0_self.jpg")
    found = listed(root, tmp_path)
    linked = ["linked/1_0_0_00000.jpg", "linked/sub/2_1_1_00001.jpg"]
    assert found.names == sorted(["1_0_0_00000.jpg", "5_0_0_file.jpg", "sub/2_1_1_00001.jpg", *linked])
    assert [name for name, _ in found.rejected] == ["6_0_0_gone.jpg", "7_0_0_self.jpg"]
    assert all("cannot be reached" in reason for _, reason in found.rejected)


def test_files_that_must_not_be_opened_are_rejected(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "MAX_FILE_BYTES", 100_000)
    names = fill(root, 2)
    os.mkfifo(root / "3_0_0_pipe.jpg")
    (root / "4_0_0_device.jpg").symlink_to("/dev/zero")
    write(root / "5_0_0_empty.jpg", b"")
    write(root / "6_0_0_huge.jpg", bytes(100_001))
    write(root / os.fsdecode(b"7_0_0_\xff.jpg"), b"x")
    found = listed(root, tmp_path)
    assert found.names == names
    assert found.rejected == [
        (r"'7_0_0_\udcff.jpg'", "the file name is not printable"),
        ("3_0_0_pipe.jpg", "not a regular file"),
        ("4_0_0_device.jpg", "not a regular file"),
        ("5_0_0_empty.jpg", "the file is empty"),
        ("6_0_0_huge.jpg", "the file has 100,001 bytes, the limit is 100,000"),
    ]


def test_members_that_must_not_be_read_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in (
            "../1_0_0_up.jpg",
            "a/../../1_0_0_up.jpg",
            "/1_0_0_root.jpg",
            "1_0_0_good.jpg",
            "./1_0_0_good.jpg",
        ):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"good" if name == "1_0_0_good.jpg" else b"evil"))
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)):
            member = tarfile.TarInfo(f"{2 + number}_0_0_special.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    found = listed(path, tmp_path)
    assert found.names == ["1_0_0_good.jpg"]
    assert list(found.read(found.names)) == [("1_0_0_good.jpg", b"good")]
    reasons = dict(found.rejected)
    assert {reasons[name] for name in reasons if "up" in name or "root" in name} == {
        "the path leads out of the archive"
    }
    assert {reasons[name] for name in reasons if "special" in name} == {"not a regular file"}
    assert "second member" in reasons["1_0_0_good.jpg"]
    assert len(found.rejected) == 8
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tar.gz", "cache"]


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("1_0_0_x.jpg", "x")


def cut(path: Path) -> None:
    archive(path, {f"{i}_0_0_x.jpg": os.urandom(5000) for i in range(1, 20)})
    path.write_bytes(path.read_bytes()[:40_000])


def flipped(path: Path) -> None:
    archive(path, {f"{i}_0_0_x.jpg": os.urandom(5000) for i in range(1, 20)})
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # the checksum at the end
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist, expected a folder of pictures or a .tar.gz archive of them: download"),
        (lambda path: path.mkdir(), r"holds no picture \(found no files\), expected .*: point it there"),
        (lambda path: write(path / "a.txt", b"x"), r"holds no picture \(found 1 other files such as 'a.txt'\)"),
        (lambda path: write(path / "1_0_0_x.jpg", b""), r"1 other files such as '1_0_0_x.jpg': the file is empty"),
        (lambda path: archive(path, {"a.txt": b"x"}), r"holds no picture \(found 1 other files such as 'a.txt'\)"),
        (lambda path: archive(path, {}), r"holds no picture \(found no files\)"),
        (lambda path: write(path, b"a letter"), "is no intact .tar.gz archive .*: unpack it if it is of another kind"),
        (lambda path: write(path, gzip.compress(b"a letter" * 100)), "is no intact .tar.gz archive"),
        (lambda path: write(path, b""), "is no intact .tar.gz archive"),
        (zipped, "is no intact .tar.gz archive"),
        (cut, "is no intact .tar.gz archive .*or download it again"),
        (flipped, "is no intact .tar.gz archive .*CRC"),
        (os.mkfifo, "is neither a folder nor a file"),
    ],
    ids=[
        "missing",
        "empty",
        "texts",
        "zero-bytes",
        "text-archive",
        "empty-archive",
        "text",
        "gzip",
        "nothing",
        "zip",
        "cut",
        "flipped",
        "pipe",
    ],
)
def test_a_root_without_pictures_is_one_sentence(
    make: Callable[[Path], None], message: str, root: Path, tmp_path: Path
) -> None:
    make(root)
    with pytest.raises(ValueError, match=message) as error:
        listed(root, tmp_path)
    assert str(error.value).startswith(f"data.root={root} ")
    assert "\n" not in str(error.value)


def test_fingerprint_is_of_names_and_sizes(root: Path, tmp_path: Path) -> None:
    names = fill(root, 4)
    first = listed(root, tmp_path).fingerprint
    write(root / "notes.txt", b"x")
    moved = root.rename(tmp_path / "moved")
    assert listed(moved, tmp_path).fingerprint == first
    seen = {first}
    for change in (
        lambda: (moved / names[0]).write_bytes(b"shorter"),
        lambda: (moved / names[1]).rename(moved / "9_0_0_new.jpg"),
        lambda: write(moved / "8_0_0_new.jpg", b"x"),
        lambda: (moved / names[2]).unlink(),
    ):
        change()
        seen.add(listed(moved, tmp_path).fingerprint)
    assert len(seen) == 5


def test_fingerprint_of_an_archive(tmp_path: Path) -> None:
    one, same, other = (tmp_path / f"{i}.tar.gz" for i in range(3))
    archive(one, {"1_0_0_a.jpg": b"x", "1_0_0_b.jpg": b"x"})
    same.write_bytes(one.read_bytes())
    archive(other, {"1_0_0_a.jpg": b"x", "1_0_0_c.jpg": b"x"})
    found = [listed(path, tmp_path).fingerprint for path in (one, same, other)]
    assert found[0] == found[1] != found[2]


def test_an_archive_is_listed_once(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz", {"1_0_0_a.jpg": b"x"})
    first, info = listed(path, tmp_path), path.stat()
    path.write_bytes(bytes(info.st_size))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert listed(path, tmp_path) == first
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns + 1))
    with pytest.raises(ValueError, match="no intact"):
        listed(path, tmp_path)


def test_a_damaged_note_is_made_anew(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz", {"1_0_0_a.jpg": b"x"})
    first = listed(path, tmp_path)
    (note,) = (tmp_path / "cache").iterdir()
    for damage in (b"", b'{"names": ', b"[]"):
        note.write_bytes(damage)
        assert listed(path, tmp_path) == first


def test_without_a_place_for_notes_the_archive_is_still_listed(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz", {"1_0_0_a.jpg": b"x"})
    assert open_source(path, Path("/proc/nowhere")).names == ["1_0_0_a.jpg"]


def test_an_archive_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz", {"1_0_0_a.jpg": b"x", "1_0_0_b.jpg": b"x"})
    found = listed(path, tmp_path)
    archive(path, {"1_0_0_a.jpg": b"x"})
    with pytest.raises(ValueError, match=r"changed while it was read \('1_0_0_b.jpg' is gone\): start again"):
        list(found.read(found.names))
    cut(path)
    with pytest.raises(ValueError, match="no intact"):
        list(found.read(found.names))


def test_a_folder_and_a_picture_of_one_name(tmp_path: Path) -> None:
    """The picture counts, and it is read."""
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        folder = tarfile.TarInfo("1_0_0_x.jpg")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        picture = tarfile.TarInfo("1_0_0_x.jpg")
        picture.size = 4
        tar.addfile(picture, io.BytesIO(b"good"))
    found = listed(path, tmp_path)
    assert list(found.read(found.names)) == [("1_0_0_x.jpg", b"good")]


@pytest.mark.parametrize(
    "form", ["--format=gnu", "--format=pax --sparse-version=0.0", "--format=pax --sparse-version=0.1", "--format=pax"]
)
def test_sparse_members_are_rejected(form: str, root: Path, tmp_path: Path) -> None:
    names = fill(root, 2)
    with (root / f"3_0_0_{'x' * 120}.jpg").open("wb") as file:
        for part in range(30):  # more than a header takes
            file.seek(part * 100_000)
            file.write(b"x")
    command = ["tar", *form.split(), "--sparse", "-czf", tmp_path / "a.tar.gz", "-C", root, "."]
    if shutil.which("tar") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("GNU tar is missing")
    found = listed(tmp_path / "a.tar.gz", tmp_path)
    assert found.names == names
    assert found.rejected == [(f"3_0_0_{'x' * 120}.jpg", "stored as a sparse file")]
    assert dict(found.read(names)) == {name: (root / name).read_bytes() for name in names}


def test_a_header_that_is_damaged_is_not_taken_for_the_end(tmp_path: Path) -> None:
    content = bytearray(
        gzip.decompress(archive(tmp_path / "a.tar.gz", {f"{i}_0_0_x.jpg": b"x" for i in (1, 2)}).read_bytes())
    )
    content[1024] ^= 1
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=r"no intact .tar.gz archive \(bad checksum\)"):
        listed(tmp_path / "a.tar.gz", tmp_path)


def test_paths_have_a_limit(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = fill(root, 3)
    monkeypatch.setattr(source, "MAX_PATHS", sum(map(len, names)))
    assert listed(root, tmp_path).names == names
    monkeypatch.setattr(source, "MAX_PATHS", sum(map(len, names)) - 1)
    with pytest.raises(ValueError, match=r"data.root lists over \d+ characters of paths: give a part of the pictures"):
        listed(root, tmp_path)
    monkeypatch.undo()
    path = archive(tmp_path / "a.tar.gz", {"1_0_0_x.jpg": b"x", f"{'a/' * 2100}1_0_0_x.jpg": b"x"})
    found = listed(path, tmp_path)
    assert found.names == ["1_0_0_x.jpg"]
    assert [reason for _, reason in found.rejected] == ["the path has 4,211 characters, the limit is 4,096"]
