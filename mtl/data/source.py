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

from mtl.data.names import shown
from mtl.data.tar import MAX_PATH, Unpacked, members

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MAX_FILE_BYTES = 64 * 2**20
MAX_PATHS = 2**26  # characters of all paths together
_RULES = 2  # raise it when the same archive must be listed otherwise
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
    try:
        path = Path(root).expanduser()
        missing = not str(root).strip() or not path.exists()
    except (OSError, RuntimeError) as error:  # a name too long, no right to look, the home of an unknown user
        problem = f"data.root={shown(root)} cannot be reached ({getattr(error, 'strerror', error)})"
        raise ValueError(f"{problem}, {_EXPECTED}: correct the path.") from error
    if missing:
        raise ValueError(f"data.root={shown(root)} does not exist, {_EXPECTED}: download it, or correct the path.")
    if not (path.is_dir() or path.is_file()):
        raise ValueError(f"data.root={shown(path)} is neither a folder nor a file, {_EXPECTED}: correct the path.")
    note = _note(path, memory) if path.is_file() else None
    if note and (source := _recall(path, note)):
        return source
    listing = _list_folder(path) if path.is_dir() else _list_archive(path)
    if not listing.sizes:
        found = f"{listing.num_others} other files such as {shown(listing.other)!r}" if listing.other else "no files"
        if listing.rejected:
            found = "{} other files such as {!r}: {}".format(len(listing.rejected), *min(listing.rejected))
        raise ValueError(f"data.root={shown(path)} holds no picture (found {found}), {_EXPECTED}: point it there.")
    source = Source(path, sorted(listing.sizes), _fingerprint(path, listing), sorted(listing.rejected))
    if note:
        _remember(source, note)
    return source


@dataclass
class _Listing:
    """Collects paths and sizes one by one, so that folders and archives are judged by the same rules.

    Attributes:
        sizes: bytes, by path, of the pictures to be opened.
        rejected: (path, reason) of those that must not be.
        num_others: how many files are no pictures; `other` is the smallest of their paths.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    num_others: int = 0
    other: str = ""
    _seen: set[str] = field(default_factory=set)
    _num_characters: int = 0

    def add(self, name: str, size: int, problem: str | None) -> None:
        """Takes one file; hidden ones are ignored.

        Raises:
            ValueError: the paths have more than `MAX_PATHS` characters together.
        """
        if len(name) > MAX_PATH:
            problem = f"the path has {len(name):,} characters, the limit is {MAX_PATH:,}"
            name = f"{name[:50]}[...]{name[-50:]}"
        path = PurePosixPath(name)
        if any(_hidden(part) for part in path.parts):
            return
        if path.suffix.lower() not in EXTENSIONS:
            self.num_others, self.other = self.num_others + 1, min(self.other or name, name)
            return
        self._num_characters += len(name)
        if self._num_characters > MAX_PATHS:
            raise ValueError(f"data.root lists over {MAX_PATHS:,} characters of paths: give a part of the pictures.")
        if name in self._seen:
            problem = "a second member of that name, the first one counts"
        self._seen.add(name)
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


def _hidden(part: str) -> bool:
    return part == "__MACOSX" or (part.startswith(".") and part != "..")


def _fingerprint(root: Path, listing: _Listing) -> str:
    content = [sorted(listing.sizes.items()) if root.is_dir() else [root.stat().st_size, *sorted(listing.sizes)]]
    return hashlib.sha256(json.dumps([content, sorted(listing.rejected)]).encode()).hexdigest()


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
            with os.scandir(root / folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise _unreadable(root, folder, error) from error
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            try:
                info = entry.stat()
            except OSError as error:
                if entry.is_dir(follow_symlinks=False):  # its path is too long
                    raise _unreadable(root, name, error) from error
                listing.add(name, 1, f"the file cannot be reached ({error.strerror})")
                continue
            if not stat.S_ISDIR(info.st_mode):
                regular = stat.S_ISREG(info.st_mode)
                listing.add(name, info.st_size, None if regular else "not a regular file")
            elif not _hidden(entry.name):
                (linked if entry.is_symlink() else folders).append(name)
    return listing


def _unreadable(root: Path, folder: str, error: OSError) -> ValueError:
    problem = f"data.root={shown(root)} cannot be read ({shown(folder or '.')}: {error.strerror})"
    return ValueError(f"{problem}: allow reading it, or point data.root elsewhere.")


def _read_folder(root: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """What was replaced since it was listed may be of any size, or a pipe that nobody writes to."""
    for name in sorted(names):
        content = b""
        with suppress(OSError), os.fdopen(os.open(root / name, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            info = os.fstat(file.fileno())
            if stat.S_ISREG(info.st_mode) and info.st_size <= MAX_FILE_BYTES:
                content = file.read(info.st_size)
        yield name, content


def _list_archive(root: Path) -> _Listing:
    listing = _Listing()
    for name, size, problem, _ in _members(root, set()):
        listing.add(name, size, problem)
    return listing


def _read_archive(root: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    for name, _, _, content in _members(root, wanted):
        if content is not None:
            yield name, content
    if wanted:
        raise ValueError(f"data.root={shown(root)} changed while it was read ({min(wanted)!r} is gone): start again.")


def _members(root: Path, wanted: set[str]) -> Iterator[tuple[str, int, str | None, bytes | None]]:
    """(name, size, problem, content) of all but folders, in order; what is in `wanted` is read and removed there."""
    try:
        with gzip.open(root) as stream:
            unpacked = Unpacked(stream, root.stat().st_size)
            for name, size, problem in members(unpacked):
                content = None
                if name in wanted and not problem and size <= MAX_FILE_BYTES:
                    wanted.remove(name)
                    content = unpacked.read(size)
                yield name, size, problem, content
                unpacked.skip(size - len(content or b"") + -size % tarfile.BLOCKSIZE)
            while unpacked.read(2**20, ends=True):  # to the end, where gzip compares the checksum
                pass
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ValueError(
            f"data.root={shown(root)} is no intact .tar.gz archive ({error}), {_EXPECTED}: unpack it if it is of"
            " another kind, or download it again."
        ) from error


def _note(root: Path, memory: Path) -> Path:
    info = root.stat()
    key = json.dumps([_RULES, str(root.resolve()), info.st_size, info.st_mtime_ns])
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
