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
from PIL import Image, ImageOps

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


def text_bomb() -> bytes:
    """A PNG with a text of 100 MB."""
    data = b"k\0\0" + zlib.compress(bytes(100_000_000))
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    content = encode(scene(0), "PNG")
    return content[:33] + chunk + content[33:]


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation(kind: str, orientation: int) -> None:
    """Pillow's own way is the second source."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = encode(scene(0, 96, 64), kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    with Image.open(io.BytesIO(raw)) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB").resize((64, 64), Image.Resampling.LANCZOS)
    assert np.array_equal(pixels(raw, 64), np.asarray(expected))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_nonsense_in_exif_is_ignored(kind: str, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    plain = pixels(encode(scene(0), kind))
    for content in (
        exif.tobytes(),
        b"Exif\x00\x00nonsense",
        exif.tobytes()[:-3],
        exif.tobytes().replace(b"\x12", b"\0"),
    ):
        assert np.array_equal(pixels(encode(scene(0), kind, exif=content)), plain)


def test_nonsense_in_place_of_a_colour_profile_is_ignored() -> None:
    for kind in ("JPEG", "PNG", "TIFF", "WEBP"):
        plain = pixels(encode(scene(0), kind))
        assert np.array_equal(pixels(encode(scene(0), kind, icc_profile=b"nonsense")), plain)


def test_a_jpeg_that_is_drawn_over_and_over() -> None:
    """700 more scans of 64 million pixels, in 0.3 MB: half a minute."""
    raw = encode(Image.new("L", (8000, 8000), 100), progressive=True)
    scan = raw[raw.rfind(b"\xff\xda") : -2]
    assert len(decode(raw, 8)[0]) == 8 * 8 * 3
    with pytest.raises(Unusable, match="8000 x 8000 pixels, drawn 706 times over"):
        decode(raw[:-2] + 700 * scan + raw[-2:], 8)
    small = encode(scene(0), progressive=True)
    assert len(decode(small[:-2] + 700 * small[small.rfind(b"\xff\xda") : -2] + small[-2:], 8)[0]) == 8 * 8 * 3


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "nothing could be read, or it grew beyond the limit since it was listed"),
        (b"just some text", "not a picture of a known format"),
        (encode(scene(0), "PPM"), "not a picture of a known format"),
        (encode(scene(0, 200, 200))[:3000], "cannot be decoded"),
        (encode(scene(0, 200, 200), "PNG")[:3000], "cannot be decoded"),
        (encode(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), "floating-point"),
        (png(100_000, 100_000), "100000 x 100000 pixels|DecompressionBomb"),
        (png(10_000, 9_000), f"10000 x 9000 pixels, the limit is {MAX_PIXELS:,}"),  # Pillow would only warn
        (png(8_001, 8_000), "8001 x 8000 pixels"),  # Pillow would say nothing
        (png(64_000_000, 1), "64000000 x 1 pixels, the limit is 65,535 each way"),
        (png(1, 65_536), "1 x 65536 pixels, the limit is 65,535 each way"),
        (png(0, 5), "not a picture of a known format"),
        (encode(Image.new("L", (8, 8)), "GIF").replace(b"\x08\0\x08\0", bytes(4)), "not a picture of a known format"),
        (encode(scene(0), "BMP")[:18] + bytes(8) + encode(scene(0), "BMP")[26:], "not a picture of a known format"),
        (text_bomb(), "cannot be decoded .*Decompressed data too large"),
    ],
    ids=[
        "empty",
        "text",
        "format",
        "cut-jpeg",
        "cut-png",
        "float",
        "bomb",
        "large-bomb",
        "small-bomb",
        "wide",
        "tall",
        "png-of-size-0",
        "gif-of-size-0",
        "bmp-of-size-0",
        "text-bomb",
    ],
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
