"""Small picture files for the tests of mtl.data, and the fields in their names."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from mtl.data.names import Field

FIELDS = [Field("size", 1, 116), Field("ripe", 0, 1), Field("kind", 0, 4)]


def scene(seed: int, width: int = 40, height: int = 40) -> Image.Image:
    """A smooth random picture: different seeds give uncorrelated grey versions."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def fill(root: Path, num: int, **options: int) -> list[str]:
    """Write `num` well-named pictures into `root`, half of them in a subfolder; their names, sorted."""
    names = [f"{'sub/' if i % 2 else ''}{1 + i % 116}_{i % 2}_{i % 5}_{i:05}.jpg" for i in range(num)]
    for i, name in enumerate(names):
        write(root / name, encode(scene(i, **options)))
    return sorted(names)


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def archive(path: Path, members: dict[str, bytes]) -> Path:
    """A .tar.gz with these members, in this order."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path
