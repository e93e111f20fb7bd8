"""Where pictures come from: a folder (nested too) or a .tar.gz archive read in place, behind one `Source`."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
import tarfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MAX_FILE_BYTES = 64 * 2**20
EXPECTED = "expected a folder of pictures or a .tar.gz archive of them"
_DAMAGED = (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile)


@dataclass(frozen=True)
class Source:
    """The pictures of `root`, listed but not read.

    Attributes:
        names: paths relative to the root (posix; archive: member path), sorted.
        fingerprint: sha256 of the sorted names and sizes (folder), or of the archive's size and its sorted names.
        rejected: (path, reason) of pictures that must not be opened.
    """

    root: Path
    names: list[str]
    fingerprint: str
    rejected: list[tuple[str, str]]

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes | None]]:
        """(name, bytes) of every wanted picture, in the order of storage; bytes are None where reading failed."""
        return _read_archive(self.root, set(wanted)) if self.root.is_file() else _read_folder(self.root, wanted)


def open_source(root: str | Path, memory: Path) -> Source:
    """List the pictures under `root`, ignoring hidden files, `__MACOSX` and files without a picture's extension.

    Raises:
        ValueError: the root is missing, is no folder or .tar.gz archive, is damaged, or holds no picture.
    """
    path = Path(root).expanduser()
    if not str(root).strip() or not path.exists():
        raise ValueError(f"data.root={root} does not exist, {EXPECTED}: download the pictures or correct the path.")
    note = None if path.is_dir() else _note(path, memory)
    if note and (source := _recall(path, note)):
        return source
    sizes, rejected, others = _list_folder(path) if path.is_dir() else _list_archive(path)
    if not sizes:
        found = f"{len(others)} other files such as {min(others)!r}" if others else "nothing"
        found = f"{len(rejected)} unusable files such as {rejected[0]}" if rejected else found
        raise ValueError(f"data.root={path} holds no picture (found {found}), {EXPECTED}: point it there.")
    names = sorted(sizes)
    content = [path.stat().st_size, names] if path.is_file() else [[name, sizes[name]] for name in names]
    digest = hashlib.sha256(json.dumps([content, sorted(rejected)]).encode()).hexdigest()
    source = Source(path, names, digest, sorted(rejected))
    if note:
        _remember(source, note)
    return source


def _note(path: Path, memory: Path) -> Path:
    """Where the listing of an archive is kept: reading it again would cost a second each time a job starts."""
    info = path.stat()
    key = json.dumps([str(path.resolve()), info.st_size, info.st_mtime_ns])
    return memory / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.listing"


def _recall(path: Path, note: Path) -> Source | None:
    try:
        known = json.loads(note.read_bytes())
        return Source(path, known["names"], known["fingerprint"], [(p, r) for p, r in known["rejected"]])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(source: Source, note: Path) -> None:
    known = {"names": source.names, "fingerprint": source.fingerprint, "rejected": source.rejected}
    temporary = note.with_suffix(f".{os.getpid()}")
    with suppress(OSError):  # a cache that cannot be written matters only where something must be packed
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known))
        temporary.replace(note)


class _Listing:
    """Collects (path, size) one by one, so that both kinds of root are judged by the same rules."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.rejected: list[tuple[str, str]] = []
        self.others: set[str] = set()

    def add(self, name: str, size: int, problem: str | None) -> None:
        path = PurePosixPath(name)
        if any(p == "__MACOSX" or (p.startswith(".") and p != "..") for p in path.parts):
            return
        if path.suffix.lower() not in EXTENSIONS:
            self.others.add(name)
            return
        try:
            name.encode()
        except UnicodeEncodeError:
            problem, name = "the file name is not valid UTF-8", ascii(name)
        if name in self.sizes:
            problem = "a second member of that name, the first one is used"
        elif size > MAX_FILE_BYTES:
            problem = problem or f"the file has {size:,} bytes, the limit is {MAX_FILE_BYTES:,}"
        elif size == 0:
            problem = problem or "the file is empty"
        if problem:
            self.rejected.append((name, problem))
        else:
            self.sizes[name] = size


Listed = tuple[dict[str, int], list[tuple[str, str]], set[str]]


def _list_folder(root: Path) -> Listed:
    """Real folders first and linked ones after them, each once, so that a loop of links ends and no path is a matter of luck."""
    listing = _Listing()
    seen: set[tuple[int, int]] = set()
    folders, linked = [""], list[str]()
    while folders or linked:
        folder = folders.pop() if folders else linked.pop(0)
        info = (root / folder).stat()
        if (info.st_dev, info.st_ino) in seen:
            continue
        seen.add((info.st_dev, info.st_ino))
        with os.scandir(root / folder) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                try:
                    if entry.is_dir():
                        (linked if entry.is_symlink() else folders).append(name)
                        continue
                    info = entry.stat()
                except OSError as error:
                    listing.add(name, 0, f"the file cannot be reached ({error.strerror})")
                    continue
                special = None if stat.S_ISREG(info.st_mode) else "not a regular file"
                listing.add(name, info.st_size, special)
    return listing.sizes, listing.rejected, listing.others


def _list_archive(path: Path) -> Listed:
    listing = _Listing()
    for member, _ in _members(path):
        name = _normal(member.name)
        if member.isdir():
            continue
        problem = None if member.isreg() else "not a regular file in the archive"
        if member.name.startswith("/") or ".." in PurePosixPath(member.name).parts:
            problem = "the path leads out of the archive"
        listing.add(name, member.size, problem)
    return listing.sizes, listing.rejected, listing.others


def _normal(name: str) -> str:
    """`./a/b` and `a/b` are one member."""
    return PurePosixPath(name).as_posix()


def _members(path: Path) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Every member in order. Decompressed by gzip and not by tarfile, which takes a truncated stream for a complete one."""
    try:
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                yield member, archive
            while stream.read(2**20):  # to the end, where gzip compares the checksum
                pass
    except _DAMAGED as error:
        raise ValueError(
            f"data.root={path} is no intact .tar.gz archive ({error}), {EXPECTED}: unpack it if it is of another kind,"
            " or download it again."
        ) from error


def _read_archive(path: Path, wanted: set[str]) -> Iterator[tuple[str, bytes | None]]:
    for member, archive in _members(path):
        name = _normal(member.name)
        if name in wanted and member.isreg():
            wanted.remove(name)
            content = archive.extractfile(member)
            assert content is not None
            yield name, content.read()
    if wanted:
        raise ValueError(f"data.root={path} changed while it was being read ({min(wanted)!r} is gone): start again.")


def _read_folder(root: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes | None]]:
    for name in sorted(wanted):
        try:
            content: bytes | None = (root / name).read_bytes()
        except OSError:
            content = None
        yield name, content
