from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from pictures import encode, scene
from PIL import Image

from mtl.data.decode import MAX_PIXELS, Unusable, decode


def pixels(raw: bytes, size: int = 8) -> np.ndarray:
    return np.frombuffer(decode(raw, size)[0], dtype=np.uint8).reshape(size, size, 3)


def png(width: int, height: int) -> bytes:
    """A PNG whose header claims this size and which holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + content


def transparent_palette() -> bytes:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.paste(0, (0, 0, 4, 8))
    return encode(image, "PNG", transparency=0)


WHITE, BLUE, GREY = (255, 255, 255), (0, 0, 200), (100, 100, 100)


@pytest.mark.parametrize(
    ("raw", "left", "right"),
    [
        (encode(Image.new("RGBA", (8, 8), (0, 0, 200, 255)), "PNG"), BLUE, BLUE),
        (encode(Image.new("RGBA", (8, 8), (0, 0, 200, 0)), "PNG"), WHITE, WHITE),
        (encode(Image.new("LA", (8, 8), (100, 0)), "PNG"), WHITE, WHITE),
        (transparent_palette(), WHITE, BLUE),
        (encode(Image.new("L", (8, 8), 100), "PNG"), GREY, GREY),
        (encode(Image.new("1", (8, 8), 1), "PNG"), WHITE, WHITE),
        (encode(Image.fromarray(np.full((8, 8), 100 * 257, np.uint16)), "PNG"), GREY, GREY),
        (encode(Image.fromarray(np.full((8, 8), 100 * 257, np.uint16)), "TIFF"), GREY, GREY),
        (encode(Image.new("CMYK", (8, 8), (255, 255, 0, 55)), "TIFF"), BLUE, BLUE),
    ],
    ids=["rgba", "transparent", "grey-transparent", "palette", "grey", "bits", "16-bit", "16-bit-tiff", "cmyk"],
)
def test_modes(raw: bytes, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    picture = pixels(raw)
    assert tuple(picture[4, 0]) == left
    assert tuple(picture[4, -1]) == right


def test_cmyk_jpeg() -> None:
    picture = pixels(encode(Image.new("CMYK", (64, 64), (255, 255, 0, 55)), "JPEG"))
    assert np.abs(picture.astype(int) - BLUE).max() < 12


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    assert tuple(pixels(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))[0, 0]) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation(kind: str) -> None:
    upright = Image.new("RGB", (96, 64), "white")
    upright.paste("black", (0, 0, 96, 16))  # dark at the top
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    picture = pixels(encode(upright.transpose(Image.Transpose.ROTATE_90), kind, exif=exif))
    assert picture[0].max() < 40
    assert picture[-1].min() > 215


def test_broken_exif_is_ignored() -> None:
    assert pixels(encode(scene(0), "JPEG", exif=b"Exif\x00\x00nonsense")).std() > 10


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not a picture of a known format"),
        (b"just some text", "not a picture of a known format"),
        (encode(scene(0), "PPM"), "not a picture of a known format"),
        (encode(scene(0, 200, 200))[:3000], "cannot be decoded"),
        (encode(scene(0, 200, 200), "PNG")[:3000], "cannot be decoded"),
        (encode(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), "floating-point"),
        (png(100_000, 100_000), "100000 x 100000 pixels|DecompressionBomb"),
        (png(10_000, 9_000), f"10000 x 9000 pixels, the limit is {MAX_PIXELS:,}"),  # Pillow would only warn
        (png(8_001, 8_000), "8001 x 8000 pixels"),  # Pillow would say nothing
    ],
    ids=["empty", "text", "format", "cut-jpeg", "cut-png", "float", "bomb", "large-bomb", "small-bomb"],
)
def test_unusable(raw: bytes, reason: str) -> None:
    with warnings.catch_warnings(record=True) as seen, pytest.raises(Unusable, match=reason) as error:
        decode(raw, 8)
    assert not seen
    assert " at 0x" not in str(error.value)  # reasons are kept and compared


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(("width", "height"), [(200, 200), (300, 140), (40, 40), (500, 500)])
def test_the_grey_version_does_not_depend_on_the_size_asked_for(kind: str, width: int, height: int) -> None:
    raw = encode(scene(0, width, height), kind)
    assert len({decode(raw, size)[1] for size in (8, 32, 64, 100, 200)}) == 1


def test_the_grey_version_is_a_small_grey_picture() -> None:
    image = scene(0, 200, 200)
    grey = np.frombuffer(decode(encode(image, quality=95), 32)[1], dtype=np.uint8).reshape(16, 16)
    expected = np.asarray(image.convert("L").resize((16, 16), Image.Resampling.BOX))
    assert np.abs(grey.astype(int) - expected).max() < 12


@pytest.mark.parametrize("size", [16, 32, 64, 150, 200])
def test_decoding_at_a_lower_scale_is_hardly_visible(size: int) -> None:
    image = Image.open(io.BytesIO(encode(scene(0, 200, 200), quality=90)))
    expected = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS))
    found = pixels(encode(scene(0, 200, 200), quality=90), size)
    assert np.abs(found.astype(int) - expected).mean() < 1


def test_a_large_size_is_decoded_in_full() -> None:
    stripes = np.zeros((200, 200, 3), np.uint8)
    stripes[:, ::2] = 255
    assert pixels(encode(Image.fromarray(stripes), quality=95), 200).std() > 100


def test_fine_detail_is_averaged() -> None:
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(pixels(encode(Image.fromarray(stripes), "PNG"))[:, 1:-1].astype(int) - 127).max() < 4


def test_a_worker_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, mtl.data.decode; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
