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
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MAX_FILE_BYTES = 64 * 2**20
_EXPECTED = "expected a folder of pictures or a .tar.gz archive of them"


@dataclass(frozen=True)
class Source:
    """The pictures under `root`, listed but not read.

    Attributes:
        names: paths relative to the root (posix; archive: member path), sorted.
        fingerprint: sha256 of the sorted names and sizes (folder), or of the archive's size and sorted names.
        rejected: (path, reason) of pictures that must not be opened.
    """

    root: Path
    names: list[str]
    fingerprint: str
    rejected: list[tuple[str, str]]

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """(name, content) of the given pictures, one at a time in the order of storage; b"" if unreadable."""
        return _read_archive(self.root, set(names)) if self.root.is_file() else _read_folder(self.root, names)


def open_source(root: str | Path, memory: Path) -> Source:
    """Lists the pictures under `root`; hidden files, `__MACOSX` and other kinds of files are ignored.

    Listing an archive means decompressing it (0.9 s for 96 MB), so the list is kept in the folder `memory`,
    by the archive's absolute path, size and modification time.

    Raises:
        ValueError: the root is missing, is no folder or .tar.gz archive, is damaged, or holds no picture.
    """
    path = Path(root).expanduser()
    if not str(root).strip() or not path.exists():
        raise ValueError(f"data.root={root} does not exist, {_EXPECTED}: download it, or correct the path.")
    if not (path.is_dir() or path.is_file()):
        raise ValueError(f"data.root={path} is neither a folder nor a file, {_EXPECTED}: correct the path.")
    note = _note(path, memory) if path.is_file() else None
    if note and (source := _recall(path, note)):
        return source
    listing = _list_folder(path) if path.is_dir() else _list_archive(path)
    if not listing.sizes:
        samples = [f"{name!r}: {reason}" for name, reason in listing.rejected]
        samples = samples or [repr(name) for name in listing.others]
        found = f"{len(samples)} other files such as {min(samples)}" if samples else "no files"
        raise ValueError(f"data.root={path} holds no picture (found {found}), {_EXPECTED}: point it there.")
    source = Source(path, sorted(listing.sizes), listing.fingerprint(path), sorted(listing.rejected))
    if note:
        _remember(source, note)
    return source


@dataclass
class _Listing:
    """Collects paths and sizes one by one, so that folders and archives are judged by the same rules."""

    sizes: dict[str, int] = field(default_factory=dict)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def add(self, name: str, size: int, problem: str | None) -> None:
        path = PurePosixPath(name)
        if any(_hidden(part) for part in path.parts):
            return
        if path.suffix.lower() not in EXTENSIONS:
            self.others.append(name)
            return
        if name in self.seen:
            problem = "a second member of that name, the first one counts"
        self.seen.add(name)
        if size == 0:
            problem = problem or "the file is empty"
        if size > MAX_FILE_BYTES:
            problem = problem or f"the file has {size:,} bytes, the limit is {MAX_FILE_BYTES:,}"
        if not name.isprintable():  # also the surrogates that stand for bytes that are not UTF-8
            problem, name = problem or "the file name is not printable", ascii(name)
        if problem:
            self.rejected.append((name, problem))
        else:
            self.sizes[name] = size

    def fingerprint(self, root: Path) -> str:
        content = [sorted(self.sizes.items()) if root.is_dir() else [root.stat().st_size, *sorted(self.sizes)]]
        return hashlib.sha256(json.dumps([content, sorted(self.rejected)]).encode()).hexdigest()


def _hidden(part: str) -> bool:
    return part == "__MACOSX" or (part.startswith(".") and part != "..")


def _list_folder(root: Path) -> _Listing:
    """Real folders first, then linked ones, each once: loops of links end, and no path is left to luck."""
    listing = _Listing()
    visited: set[tuple[int, int]] = set()
    folders, linked = [""], list[str]()
    while folders or linked:
        folder = folders.pop() if folders else linked.pop(0)
        try:
            info = (root / folder).stat()
            if (info.st_dev, info.st_ino) in visited:
                continue
            visited.add((info.st_dev, info.st_ino))
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError as error:
            problem = f"data.root={root} cannot be read ({folder or '.'}: {error.strerror})"
            raise ValueError(f"{problem}: allow reading it, or point data.root elsewhere.") from error
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            try:
                info = entry.stat()
            except OSError as error:
                listing.add(name, 1, f"the file cannot be reached ({error.strerror})")
                continue
            if not stat.S_ISDIR(info.st_mode):
                regular = stat.S_ISREG(info.st_mode)
                listing.add(name, info.st_size, None if regular else "not a regular file")
            elif not _hidden(entry.name):
                (linked if entry.is_symlink() else folders).append(name)
    return listing


def _list_archive(root: Path) -> _Listing:
    listing = _Listing()
    for member, _ in _members(root, set()):
        if member.name.startswith("/") or ".." in PurePosixPath(member.name).parts:
            listing.add(_normal(member), max(member.size, 1), "the path leads out of the archive")
        elif not member.isdir():
            regular = member.isreg()
            problem = None if regular else "not a regular file"
            listing.add(_normal(member), member.size if regular else 1, problem)
    return listing


def _members(root: Path, wanted: set[str]) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    """Every member in order, with its content if its name is in `wanted`, from where the name is removed.

    Decompressed by gzip, because tarfile itself takes a truncated stream for a complete one.
    """
    try:
        with gzip.open(root) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                content = None
                if _normal(member) in wanted:
                    wanted.remove(_normal(member))
                    content = archive.extractfile(member)
                yield member, content.read() if content else None
            while stream.read(2**20):  # to the end, where gzip compares the checksum
                pass
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ValueError(
            f"data.root={root} is no intact .tar.gz archive ({error}), {_EXPECTED}: unpack it if it is of"
            " another kind, or download it again."
        ) from error


def _normal(member: tarfile.TarInfo) -> str:
    """`./a/b` and `a/b` are one member."""
    return PurePosixPath(member.name).as_posix()


def _read_archive(root: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    missing = set(wanted)
    for member, content in _members(root, missing):
        if content is not None:
            yield _normal(member), content
    if missing:
        raise ValueError(f"data.root={root} changed while it was read ({min(missing)!r} is gone): start again.")


def _read_folder(root: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    for name in sorted(names):
        content = b""
        with suppress(OSError):  # refused like an empty file
            content = (root / name).read_bytes()
        yield name, content


def _note(root: Path, memory: Path) -> Path:
    info = root.stat()
    key = json.dumps([str(root.resolve()), info.st_size, info.st_mtime_ns])
    return memory / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.listing"


def _recall(root: Path, note: Path) -> Source | None:
    try:
        known = json.loads(note.read_bytes())
        rejected = [(name, reason) for name, reason in known["rejected"]]
        return Source(root, known["names"], known["fingerprint"], rejected)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(source: Source, note: Path) -> None:
    known = {"names": source.names, "fingerprint": source.fingerprint, "rejected": source.rejected}
    temporary = note.with_suffix(f".{os.getpid()}")
    with suppress(OSError):  # each job lists the archive again then; where it matters, packing says what is wrong
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known))
        temporary.replace(note)
