"""The members of a .tar.gz archive, read forwards once, with bounds on what a crafted archive can make of it."""

from __future__ import annotations

import gzip
import re
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath

MAX_PATH = 4096  # characters, as Linux has it
# Pictures unpack to about the size of their archive; what goes beyond both of these together is made to do harm.
MAX_RATIO = 100
MAX_EXTRA_BYTES = 2**30
MAX_HEADER_BYTES = 2**20  # of one long name, or of the attributes of one member
_ATTRIBUTES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_HEADERS = (*_ATTRIBUTES, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


class Unpacked:
    """An archive's bytes, read forwards only: no more than 100 times its size and 1 GiB.

    Raises (all methods):
        tarfile.ReadError: the limit is passed.
        EOFError, OSError, zlib.error: the archive ends too early, or is damaged.
    """

    def __init__(self, stream: gzip.GzipFile, num_packed: int) -> None:
        self.stream, self.limit = stream, MAX_RATIO * num_packed + MAX_EXTRA_BYTES
        self.left = self.limit

    def read(self, num: int, *, ends: bool = False) -> bytes:
        """The next `num` bytes; with `ends=True` fewer are right where the archive ends."""
        content = self.stream.read(num)
        self.left -= len(content)
        if self.left < 0:
            raise tarfile.ReadError(f"it unpacks to more than {self.limit:,} bytes")
        if len(content) < num and not ends:
            raise EOFError("it ends too early")
        return content

    def skip(self, num: int) -> None:
        while num > 0:
            num -= len(self.read(min(num, 2**20)))


def members(unpacked: Unpacked) -> Iterator[tuple[str, int, str | None]]:
    """(name, bytes, problem) of all members but folders; the content is to be skipped before the next one.

    Not by `tarfile.TarFile`: it takes a damaged header for the end, keeps every member, and reads attributes of
    any size, in Python 3.11.7 with quadratic time and memory (of 64 KiB: 5 s or 1 GiB). Here at most one header
    of 1 MiB is held, and of its records only a path and a size.

    Raises:
        tarfile.TarError: a header is damaged or too large; and what `Unpacked` raises.
    """
    extra: dict[str, bytes] = {}
    block = unpacked.read(tarfile.BLOCKSIZE)
    while any(block):
        member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if member.type in _HEADERS:
            if not 0 <= member.size <= MAX_HEADER_BYTES:
                raise tarfile.ReadError(f"a header of {member.size:,} bytes, the limit is {MAX_HEADER_BYTES:,}")
            content = unpacked.read(member.size)
            unpacked.skip(-member.size % tarfile.BLOCKSIZE)
            if member.type in _ATTRIBUTES:
                extra |= _attributes(content)
            elif member.type == tarfile.GNUTYPE_LONGNAME:
                extra["path"] = content.partition(b"\0")[0]
        else:
            more = member.type == tarfile.GNUTYPE_SPARSE and block[482]
            while more:  # the map of a sparse file goes on
                more = unpacked.read(tarfile.BLOCKSIZE)[504]
            if not member.isdir():
                yield _judged(member, extra)
            extra = {}
        block = unpacked.read(tarfile.BLOCKSIZE, ends=True)


def _judged(member: tarfile.TarInfo, extra: dict[str, bytes]) -> tuple[str, int, str | None]:
    """The name, size and problem of a member, with what was said ahead of its header."""
    name = member.name
    for key in ("path", "GNU.sparse.name"):
        name = extra[key].decode("utf-8", "surrogateescape") if key in extra else name
    size = int(extra["size"]) if "size" in extra else member.size
    if not member.isreg() and member.type in tarfile.SUPPORTED_TYPES:
        size = 0  # whatever their headers say, links and devices have no content
    if size < 0:
        raise tarfile.ReadError(f"a member of {size:,} bytes")
    problem = None if member.isreg() else "not a regular file"
    if member.type == tarfile.GNUTYPE_SPARSE or "GNU.sparse" in extra:
        problem = "stored as a sparse file"
    if name.startswith("/") or ".." in name.split("/"):
        problem = "the path leads out of the archive"
    return name if len(name) > MAX_PATH else PurePosixPath(name).as_posix(), size, problem


def _attributes(content: bytes) -> dict[str, bytes]:
    """What matters of a pax header: records `<length> <key>=<value>`, with the length of all of the record."""
    found, start = dict[str, bytes](), 0
    while start < len(content) and content[start]:
        length = content[start : start + 8].partition(b" ")[0]
        end = start + int(length) if length.isdigit() else 0
        key, equals, value = content[start + len(length) + 1 : max(end - 1, 0)].partition(b"=")
        if end > len(content) or not equals or (key == b"size" and not re.fullmatch(rb"[0-9]{1,19}", value)):
            raise tarfile.ReadError("a damaged header")
        if key.startswith(b"GNU.sparse."):
            found["GNU.sparse"] = b""
        if key in (b"path", b"size", b"GNU.sparse.name"):
            found[key.decode()] = value
        start = end
    return found
