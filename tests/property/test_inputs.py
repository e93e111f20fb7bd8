"""Whatever lies under data.root: a pack that accounts for every picture, or one sentence. Nothing else happens.

Second source: Python's tarfile for what is in an archive, os.walk for what is in a folder.
"""

from __future__ import annotations

import gzip
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from mtl.data import tar as tar_module
from mtl.data.decode import Unusable, decode
from mtl.data.names import Field
from mtl.data.pack import Pack, pack
from mtl.data.source import EXTENSIONS, open_source

FIELDS = [Field("size", 1, 116), Field("ripe", 0, 1), Field("kind", 0, 4)]
few = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    signal.alarm(300)  # ends the process: what hangs inside C code hears nothing else
    yield
    signal.alarm(0)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def small_pictures() -> list[bytes]:
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8))
    deep = Image.fromarray(np.arange(54, dtype=np.uint16).reshape(6, 9) * 999)
    frames = {"save_all": True, "append_images": [rgb.rotate(180)]}
    turned = Image.Exif()
    turned[0x0112] = 6
    found = [encode(rgb, kind) for kind in ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")]
    found += [encode(rgb.convert(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGBA")]
    found += [encode(rgb.convert("CMYK"), kind) for kind in ("JPEG", "TIFF")]
    found += [encode(deep, kind) for kind in ("PNG", "TIFF")]
    found += [encode(rgb, kind, **frames) for kind in ("GIF", "PNG", "TIFF", "WEBP")]
    found += [encode(rgb, kind, exif=turned) for kind in ("JPEG", "PNG", "TIFF", "WEBP")]
    found += [encode(rgb, "JPEG", progressive=True), encode(rgb, "PNG", icc_profile=b"nonsense")]
    return found


PICTURES = small_pictures()


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """Pictures of all kinds, half of them with wrong bytes or cut; and bytes of no kind."""
    content = bytearray(draw(st.sampled_from([*PICTURES, b"", b"text"])))
    if content and draw(st.booleans()):
        for _ in range(draw(st.integers(0, 6))):
            content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
        content = content[: draw(st.integers(0, len(content)))]
    return bytes(content)


ODD = [
    "é",
    "e\u0301",
    "\u202egpj",
    "\ufeff",
    "\n",
    "\r",
    "\x1b[2J",
    "\udcff",
    "\U0001f333",
    "ß",
    "SS",
    "\\",
    "x" * 200,
    " ",
]
FOLDERS = ["sub", "Sub", "..", ".", "", ".git", "__MACOSX", "a.jpg", *ODD]
parts = st.one_of(st.sampled_from(FOLDERS), st.text(max_size=5))
bases = st.one_of(
    st.sampled_from(["1_0_0_x.jpg", "2_1_4_y.PNG", "61_1_x.jpg", "notes.txt", ".jpg", "1_0_0_.tif", "999_0_0_x.gif"]),
    st.builds("{}_0_0_{}.jpg".format, st.integers(0, 120), st.sampled_from(ODD)),
    st.builds("{}.webp".format, st.text(max_size=8)),
)
paths = st.builds(lambda above, base: "/".join([*above, base]), st.lists(parts, max_size=3), bases)


def is_picture(path: str) -> bool:
    """By the rules in open_source's docstring."""
    names = PurePosixPath(path).parts
    hidden = any(name == "__MACOSX" or (name.startswith(".") and name != "..") for name in names)
    return not hidden and PurePosixPath(path).suffix.lower() in EXTENSIONS


def check(names: list[str], rejected: list[tuple[str, str]]) -> None:
    assert names == sorted(set(names))
    for name, reason in rejected:
        assert name.isprintable()
        assert reason.isprintable()
        assert reason


@contextmanager
def nothing_else_happens(folder: Path) -> Iterator[None]:
    """Outside folder/cache no entry changes, and no file stays open."""

    def state() -> tuple[object, set[str]]:
        entries = {}
        for above, folders, files in os.walk(folder):
            if Path(above) == folder:
                folders.remove("cache")
            for name in [".", *folders, *files]:
                info = os.lstat(f"{above}/{name}")
                entries[f"{above}/{name}"] = (info.st_mode, info.st_size, info.st_mtime_ns, info.st_ino)
        return entries, set(os.listdir("/proc/self/fd"))  # noqa: PTH208

    (folder / "cache").mkdir()
    before = state()
    yield
    assert state() == before


@contextmanager
def one_sentence() -> Iterator[None]:
    """A ValueError is fine if it is one line that can be printed; anything else is not."""
    message = "data.root"
    try:
        yield
    except ValueError as error:
        message = str(error)
    assert message.startswith("data.root")
    assert message.isprintable()
    assert len(message) < 2000


kinds = st.sampled_from([tarfile.REGTYPE] * 8 + [bytes([kind]) for kind in b"0123456789DMNVS\0ZLKxgX"])
formats = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
texts = st.text(max_size=6)
keys = st.text("abc.\n é", min_size=1, max_size=6)  # of records that tarfile reads too
members = st.tuples(paths, kinds, contents(), formats, st.dictionaries(keys, texts, max_size=2))


def tar(entries: list[tuple[str, bytes, bytes, int, dict[str, str]]]) -> bytes:
    """Entries as they are given; data only after the kinds of headers that can have any."""
    stream = io.BytesIO()
    for name, kind, content, form, attributes in entries:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "../1_0_0_x.jpg"
        member.size = len(content)
        if kind in tarfile.SUPPORTED_TYPES and not member.isreg():
            content = b""  # whatever the header says
        member.pax_headers = attributes
        header = None
        for usable in (form, tarfile.PAX_FORMAT):  # USTAR has no room for long names
            with suppress(ValueError):
                header = header or member.tobuf(usable, "utf-8", "surrogateescape")
        if header:
            stream.write(header + content + bytes(-len(content) % 512))
    return stream.getvalue() + bytes(1024)


def by_tarfile(content: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content), encoding="utf-8", errors="surrogateescape") as archive:
        return archive.getmembers()


PLAIN = [bytes([kind]) for kind in b"01234567"] + [b"\0", b"Z"]


@many
@given(st.lists(members.filter(lambda entry: entry[1] in PLAIN), max_size=8))
@example([("1_0_0_x.jpg", b"5", b"", tarfile.GNU_FORMAT, {}), ("1_0_0_x.jpg", b"0", b"ab", tarfile.GNU_FORMAT, {})])
def test_every_member_of_an_archive_is_listed_once(entries) -> None:
    content = tar(entries)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "a.tar.gz")
        root.write_bytes(gzip.compress(content, 1))
        with nothing_else_happens(Path(folder)), one_sentence():
            source = open_source(root, Path(folder, "cache"))
            check(source.names, source.rejected)
            expected = [member for member in by_tarfile(content) if not member.isdir() and is_picture(member.name)]
            assert len(source.names) + len(source.rejected) == len(expected)
            first = {PurePosixPath(member.name).as_posix(): member for member in reversed(expected)}
            read = dict(source.read(source.names))
            assert sorted(read) == source.names
            for name, found in read.items():
                start = first[name].offset_data
                assert first[name].isreg()
                assert found == content[start : start + first[name].size]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An archive of any members, of which bytes are changed, missing or too many before or after compression."""
    content = bytearray(tar(draw(st.lists(members, min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content) // 512 - 1)) * 512
        at = draw(st.sampled_from([start + offset for offset in (0, 124, 125, 135, 148, 156, 345, 482, 500)]))
        content[at] = draw(st.sampled_from([0, 32, 48, 55, 120, 128, 255]))
        if draw(st.booleans()) and any(content[start : start + 512]):  # a header that is wrong and says it is right
            total = sum(content[start : start + 512]) - sum(content[start + 148 : start + 156]) + 8 * 32
            content[start + 148 : start + 156] = b"%06o\0 " % total
    packed = bytearray(gzip.compress(content[: draw(st.integers(0, 2 * len(content)))], 1))
    if draw(st.booleans()):
        packed[draw(st.integers(0, len(packed) - 1))] ^= draw(st.integers(0, 255))
    return bytes(packed[: draw(st.integers(0, 2 * len(packed)))]) + draw(st.sampled_from([b"", b"", b"\0", b"garbage"]))


@many
@given(damaged())
def test_a_damaged_archive_is_listed_or_one_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "a.tar.gz")
        root.write_bytes(content)
        with nothing_else_happens(Path(folder)), one_sentence():
            source = open_source(root, Path(folder, "cache"))
            check(source.names, source.rejected)
            assert sorted(name for name, _ in source.read(source.names)) == source.names


# None leads out of the temporary folder: what lies there would be packed too.
LINKS = [".", "..", "nowhere", "sub", "../sub", "loop", "/dev/zero", "/dev/null", "1_0_0_x.jpg"]
entry_kinds = st.sampled_from(["file"] * 6 + ["link", "link", "link", "hardlink", "pipe", "socket", "folder"])
entries = st.tuples(paths, entry_kinds, contents(), st.sampled_from(LINKS))


def fill(root: Path, given: list[tuple[str, str, bytes, str]]) -> None:
    """The entries that the file system takes."""
    (root / "sub").mkdir(parents=True)
    for name, kind, content, target in given:
        if name.startswith("/") or ".." in name.split("/"):
            continue
        with suppress(OSError, ValueError):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():  # maybe a pipe, or linked to a device
                continue
            if kind == "file":
                path.write_bytes(content)
            elif kind == "link":
                path.symlink_to(target)
            elif kind == "hardlink":
                path.hardlink_to(root / "1_0_0_x.jpg")
            elif kind == "pipe":
                os.mkfifo(path)
            elif kind == "socket":
                with socket.socket(socket.AF_UNIX) as server:
                    server.bind(str(path))
            else:
                path.mkdir()


def pictures_by_walk(root: Path) -> set[str]:
    """Pictures in real folders, as they are or as they are named among the rejected."""
    found = set()
    for above, folders, files in os.walk(root):
        links = [name for name in folders if Path(above, name).is_symlink()]
        for name in [*files, *links]:
            path = os.path.relpath(f"{above}/{name}", root)
            if is_picture(path) and not os.path.isdir(f"{above}/{name}"):  # noqa: PTH112
                found.add(path if path.isprintable() else ascii(path))
    return found


def check_pack(packed: Pack) -> None:
    check(packed.names, packed.rejected)
    num = len(packed.names)
    assert packed.images.shape == (num, 8, 8, 3)
    assert packed.labels.shape == (num, 3)
    assert np.isfinite(packed.labels).all()
    assert len(packed.split_names) == len(packed.clusters) == num


@few
@given(st.lists(entries, max_size=12))
def test_every_picture_of_a_folder_is_used_or_rejected(given) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        fill(root, given)
        (root / "1_0_0_good.jpg").write_bytes(PICTURES[2])
        with nothing_else_happens(Path(folder)), one_sentence():
            packed = pack(root, FIELDS, 8, Path(folder, "cache"))
            check_pack(packed)
            accounted = [*packed.names, *(name for name, _ in packed.rejected)]
            assert len(accounted) == len(set(accounted))
            assert pictures_by_walk(root) <= set(accounted)
            assert "1_0_0_good.jpg" in packed.names
            del packed  # closes the memory map


@few
@given(st.lists(members, max_size=6))
def test_an_archive_is_packed_or_one_sentence(given) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "a.tar.gz")
        root.write_bytes(gzip.compress(tar([*given, ("9_0_0_good.jpg", b"0", PICTURES[2], 1, {})]), 1))
        with nothing_else_happens(Path(folder)), one_sentence():
            source = open_source(root, Path(folder, "cache"))
            packed = pack(root, FIELDS, 8, Path(folder, "cache"))
            check_pack(packed)
            assert len(packed.names) + len(packed.rejected) == len(source.names) + len(source.rejected)
            del packed


@settings(many, max_examples=600)
@given(contents())
def test_bytes_are_a_picture_or_unusable_for_a_reason(content: bytes) -> None:
    reason = "fine"
    try:
        picture, grey = decode(content, 8)
        assert (len(picture), len(grey)) == (8 * 8 * 3, 256)
    except Unusable as error:
        reason = str(error)
    assert reason.isprintable()


@pytest.mark.parametrize("name", ["a\nb", "\udcff", "x" * 300, "a\0b", "~nobody-of-that-name/x", "é", " "])
def test_a_root_of_any_name_is_one_sentence(name: str, tmp_path: Path) -> None:
    for root in (name, tmp_path / name):
        with pytest.raises(ValueError, match=r"^data\.root=.* (does not exist|cannot be reached)") as error:
            pack(root, FIELDS, 8, tmp_path / "cache")
        assert str(error.value).isprintable()


def test_paths_that_are_too_long_are_one_sentence(tmp_path: Path) -> None:
    """A folder that nobody can reach by its path; only its parent's handle makes it."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "1_0_0_x.jpg").write_bytes(PICTURES[2])
    handle = os.open(root, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("\n" * 250, dir_fd=handle)
        inner = os.open("\n" * 250, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    with pytest.raises(ValueError, match=r"cannot be read \(.*: File name too long\): allow reading it") as error:
        open_source(root, tmp_path)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000


def test_a_file_that_is_replaced_after_it_was_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a pipe, which would be waited for, or by a file that is larger than the limit."""
    for number in range(3):
        (tmp_path / f"{number + 1}_0_0_x.jpg").write_bytes(PICTURES[2])
    source = open_source(tmp_path, tmp_path)
    (tmp_path / "1_0_0_x.jpg").unlink()
    os.mkfifo(tmp_path / "1_0_0_x.jpg")
    with (tmp_path / "2_0_0_x.jpg").open("wb") as file:
        file.truncate(2**40)
    assert [content for _, content in source.read(source.names)] == [b"", b"", PICTURES[2]]


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (tar_module.MAX_RATIO, tar_module.MAX_EXTRA_BYTES) == (100, 2**30)
    monkeypatch.setattr(tar_module, "MAX_EXTRA_BYTES", 2**20)
    member = tarfile.TarInfo("notes.txt")
    member.size = 10 * 2**20
    picture = tar([("1_0_0_x.jpg", b"0", PICTURES[2], 1, {})])
    for content in (member.tobuf() + bytes(member.size) + picture, picture + bytes(10 * 2**20)):
        path = tmp_path / "a.tar.gz"
        path.write_bytes(gzip.compress(content))
        with pytest.raises(ValueError, match=r"is no intact .tar.gz archive \(it unpacks to more than [0-9,]* bytes\)"):
            open_source(path, tmp_path)


def long_header(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, len(content) if size is None else size
    return member.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def records() -> bytes:
    """20 headers of 1 MiB in a row, with 1.4 million attributes, before one member."""
    numbers = [range(start, start + 69_000) for start in range(0, 20 * 69_000, 69_000)]
    return b"".join(long_header(b"x", b"".join(b"15 k%08d=v\n" % number for number in part)) for part in numbers)


def sparse_chain() -> bytes:
    """A sparse file in 2 million parts."""
    header = bytearray(long_header(b"S", b""))
    header[482] = 1
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * 32)
    block = b"".join(b"%011o\0%011o\0" % (part + 1, 1) for part in range(21)) + b"\1" + bytes(7)
    return bytes(header) + 100_000 * block + bytes(512)


LIST = """
import sys
from pathlib import Path
from mtl.data.source import open_source
try:
    print(len(open_source(sys.argv[1], Path(sys.argv[2])).names), "pictures")
except ValueError as error:
    print(error)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def child(code: str, *arguments: object) -> tuple[str, list[float]]:
    """The first line that a Python process prints, and the numbers in the last one, KiB, in MiB.

    These are VmHWM: the ru_maxrss of a process begins with that of the process that started it.
    """
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    first, *_, last = found.stdout.splitlines()
    return first, [int(number) / 1024 for number in last.split()]


@pytest.mark.parametrize(
    ("header", "outcome"),
    [
        (lambda: long_header(b"x", b"2 " * 2**19), "a damaged header"),
        (lambda: long_header(b"x", b"1" * 2**20), "a damaged header"),
        (records, "1 pictures"),
        (sparse_chain, "1 pictures"),
        (lambda: long_header(b"L", bytes(512), 2**33 - 1), "a header of 8,589,934,591 bytes, the limit is 1,048,576"),
        (lambda: long_header(b"L", b"/" * 2**20), "1 pictures"),
        (lambda: long_header(b"L", b"a/" * 2**19), "1 pictures"),
        (lambda: long_header(b"0", b"", 2**62), "it ends too early"),
        (lambda: long_header(b"0", b"", -(2**62)), "a member of -4,611,686,018,427,387,904 bytes"),
    ],
    ids=["keys", "digits", "records", "sparse", "huge", "slashes", "deep", "enormous", "negative"],
)
def test_headers_take_little_memory(header, outcome: str, tmp_path: Path) -> None:
    root = tmp_path / "a.tar.gz"
    others = tar([("notes.txt", b"0", b"x", 1, {}), ("1_0_0_x.jpg", b"0", PICTURES[2], 1, {})])
    root.write_bytes(gzip.compress(header() + others, 1))
    line, (memory,) = child(LIST, root, tmp_path)
    assert outcome in line
    assert memory < 80


DECODE = """
import resource, sys
from pathlib import Path
from mtl.data.workers import decode_all
((_, grey, reason),) = next(decode_all([(0, Path(sys.argv[1]).read_bytes())], 1, Path(sys.argv[2]), 200))
print(reason or len(grey))
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def large_png() -> bytes:
    """64 million transparent pixels, row by row."""
    pack_row = zlib.compressobj(1)
    row = bytes([0, *[200, 100, 50, 128] * 8000])
    data = b"".join(pack_row.compress(row) for _ in range(8000)) + pack_row.flush()
    header = (8000).to_bytes(4, "big") * 2 + bytes([8, 6, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def large_webp() -> bytes:
    """Flat, and made in a process of its own, because encoding takes as much memory as decoding."""
    code = """
import sys
from PIL import Image
Image.new("RGBA", (8000, 8000), (9, 9, 9, 9)).save(sys.stdout.buffer, "WEBP", lossless=True, quality=0, method=0)
"""
    return subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout


def tiff(width: int, height: int, tile: tuple[int, int]) -> bytes:
    """Tiles of LZW that hold nothing."""
    tags = {256: width, 257: height, 258: 8, 259: 5, 262: 1, 277: 1, 322: tile[0], 323: tile[1], 324: 8, 325: 64}
    entries = b"".join(
        number.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little") for number, value in tags.items()
    )
    return b"II*\0" + (72).to_bytes(4, "little") + bytes(64) + bytes([len(tags), 0]) + entries + bytes(4)


@pytest.mark.parametrize(
    ("picture", "outcome"),
    [(large_png, "256"), (large_webp, "256"), (lambda: tiff(1, 1, (65536, 32752)), "cannot be decoded")],
    ids=["png", "webp", "tiff-of-one-tile"],
)
def test_decoding_takes_less_memory_than_stated(picture, outcome: str, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(picture())
    (tmp_path / "images").touch()
    line, (memory,) = child(DECODE, tmp_path / "picture", tmp_path / "images")
    assert outcome in line
    assert memory < 1.25 * 1024 + 32


CLUSTER = """
import sys
import numpy as np
from mtl.data.duplicates import cluster
rng = np.random.default_rng(0)
base = rng.integers(10, 240, (2, 16, 16))
# Alike but for noise, or of two kinds.
base[1] = base[0] if sys.argv[1] == "alike" else base[1]
before = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
num = 10_000
found = cluster((base[rng.integers(0, 2, num)] + rng.integers(-3, 4, (num, 16, 16))).astype(np.uint8))
print(found.max() + 1)
print(before, next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.parametrize(("kind", "number"), [("alike", "1"), ("two", "2")])
def test_clusters_of_pictures_that_are_alike_take_little_memory(kind: str, number: str) -> None:
    """2 KiB a picture and 150 MB; all pairs would be 50 million."""
    line, (before, after) = child(CLUSTER, kind)
    assert line == number
    assert after - before < 150 + 10_000 * 2 / 1024


PACK = """
import sys
from mtl.data.names import Field
from mtl.data.pack import pack
fields = [Field("size", 1, 116), Field("ripe", 0, 1), Field("kind", 0, 4)]
packed = pack(sys.argv[1], fields, 8, sys.argv[2], near_duplicates=False)
print(len(packed.names), len(packed.rejected))
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def test_100_000_files(tmp_path: Path) -> None:
    """Links to two files, which are quickly made; only every tenth is decoded, the others say no labels."""
    root = tmp_path / "root"
    root.mkdir()
    for number in range(100_000):
        path = root / f"{'x' if number % 10 else '1_0_0'}_{number:06}.png"
        if number < 2:
            path.write_bytes(PICTURES[3])
        else:
            path.hardlink_to(root / ("1_0_0_000000.png" if number % 2 else "x_000001.png"))
    line, (memory,) = child(PACK, root, tmp_path / "cache")
    assert line == "10000 90000"
    assert memory < 300
