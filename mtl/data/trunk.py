"""Draws the cross-section of one tree trunk, on a ground, in a light.

As in real pictures the tasks disturb each other: rot hides rings and hue, heartwood looks like rot, bark thickens with
age and differs by species, and the camera's distance hides the true size.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Color = tuple[float, float, float]

SPECIES = ("pine", "oak", "beech", "birch", "cherry")
ANGLES = 1024  # entries of a table over the angle around the pith
RADII = 400  # entries of a table from the pith to the cambium, and again from there to the outside of the bark


class Kind(NamedTuple):
    """How a species looks; colours are RGB from 0 to 1."""

    wood: Color
    heart: Color
    bark: Color
    heart_share: float  # of the radius, in an old trunk
    contrast: float  # of the late wood
    rays: float
    thickness: float  # of the bark, relative to the wood's radius, in an old trunk
    furrows: float
    lobes: float


KINDS = (
    Kind((0.93, 0.79, 0.50), (0.80, 0.54, 0.28), (0.50, 0.31, 0.19), 0.55, 0.50, 0.03, 0.17, 0.45, 0.010),
    Kind((0.74, 0.60, 0.40), (0.50, 0.35, 0.21), (0.29, 0.25, 0.21), 0.75, 0.34, 0.20, 0.18, 0.60, 0.030),
    Kind((0.92, 0.71, 0.59), (0.82, 0.58, 0.46), (0.54, 0.54, 0.51), 0.30, 0.22, 0.11, 0.06, 0.12, 0.020),
    Kind((0.95, 0.88, 0.74), (0.88, 0.74, 0.56), (0.86, 0.85, 0.82), 0.20, 0.16, 0.03, 0.08, 0.35, 0.012),
    Kind((0.84, 0.55, 0.36), (0.62, 0.29, 0.18), (0.35, 0.18, 0.15), 0.70, 0.28, 0.06, 0.07, 0.20, 0.045),
)
# Grounds: base colour, second colour, strengths of fine, medium, coarse and streaked noise.
GROUNDS: tuple[tuple[Color, Color, float, float, float, float], ...] = (
    ((0.30, 0.44, 0.16), (0.55, 0.62, 0.25), 0.30, 0.30, 0.25, 0.60),  # grass
    ((0.82, 0.72, 0.53), (0.68, 0.56, 0.38), 0.30, 0.20, 0.40, 0.10),  # sand
    ((0.30, 0.34, 0.39), (0.48, 0.51, 0.55), 0.12, 0.40, 0.50, 0.20),  # slate
    ((0.90, 0.93, 0.97), (0.70, 0.78, 0.90), 0.05, 0.15, 0.55, 0.00),  # snow
    ((0.55, 0.37, 0.22), (0.33, 0.20, 0.11), 0.05, 0.08, 0.25, 0.70),  # dark table
    ((0.78, 0.63, 0.45), (0.62, 0.46, 0.30), 0.05, 0.08, 0.25, 0.60),  # light table
    ((0.36, 0.25, 0.17), (0.70, 0.40, 0.16), 0.15, 0.70, 0.30, 0.00),  # leaves
    ((0.15, 0.18, 0.24), (0.36, 0.42, 0.52), 0.01, 0.03, 0.60, 0.00),  # dark cloth
    ((0.66, 0.70, 0.72), (0.45, 0.52, 0.58), 0.01, 0.03, 0.60, 0.00),  # studio paper
    ((0.24, 0.36, 0.22), (0.42, 0.50, 0.20), 0.15, 0.50, 0.50, 0.00),  # moss
)


@lru_cache(maxsize=4)
def _noise(size: int) -> dict[str, Floats]:
    """Periodic noise to cut windows from, each [5 * size, 5 * size] with mean 0 and deviation 1.

    Drawing it anew for each picture would cost most of the time.
    """
    rng = np.random.default_rng(20)
    period = 4 * size

    def smooth(field: NDArray[np.float64], width: int, axes: tuple[int, ...]) -> NDArray[np.float64]:
        for axis in axes * 2:
            rolled = [np.roll(field, shift, axis) for shift in range(width)]
            field = np.add.reduce(rolled) / width
        return field

    def tile(width: int, axes: tuple[int, ...]) -> Floats:
        field = smooth(rng.standard_normal((period, period)), width, axes)
        field = (field - field.mean()) / field.std()
        return np.pad(field, (0, size), mode="wrap").astype(np.float32)

    medium, coarse = max(2, size // 16), max(3, size // 3)
    return {
        "fine": tile(1, ()),
        "medium": tile(medium, (0, 1)),
        "coarse": tile(coarse, (0, 1)),
        "streak": tile(medium * 3, (0,)),
    }


@lru_cache(maxsize=1)
def _angles() -> tuple[Floats, Floats]:
    """The angle [ANGLES + 1] of every entry of an angle table, and smooth periodic noise over it.

    The noise is [3, 32, ANGLES + 1], from slow to quick. Entries are equidistant in the 'diamond
    angle' 1 - x / (|x| + |y|), which needs no arctangent per pixel.
    """
    rng = np.random.default_rng(21)
    t = np.linspace(-2, 2, ANGLES + 1)
    angle = np.arctan2(np.copysign(1 - np.abs(1 - np.abs(t)), t), 1 - np.abs(t))
    angle[0] = -np.pi
    rows = []
    for low, high in ((2, 9), (8, 40), (40, 110)):
        order = np.arange(low, high)[:, None]
        rows.append(
            [
                (np.cos(order * angle + rng.uniform(0, 7, order.shape)) * np.sqrt(2 / len(order))).sum(0)
                for _ in range(32)
            ]
        )
    return angle.astype(np.float32), np.array(rows, np.float32)


def _window(rng: np.random.Generator, name: str, size: int) -> Floats:
    field = _noise(size)[name]
    row, column = rng.integers(0, 4 * size, 2)
    return field[row : row + size, column : column + size]


def _blend(image: Floats, color: NDArray[np.floating], mask: Floats, alpha: Floats) -> None:
    """Paints `color` [3] over the premultiplied `image` [3, S, S] where `mask` [S, S] is one."""
    for plane, value in zip(image, color, strict=True):
        plane += (np.float32(value) * alpha - plane) * mask


def _ramp(values: Floats) -> Floats:
    return np.clip(values, 0, 1, out=values)


def _profile(rng: np.random.Generator, age: int, kind: Kind, pixels: float, bark_pixels: float) -> Floats:
    """Premultiplied RGBA [4, 2 * RADII + 1] from the pith over the cambium (entry RADII) to the outside of the bark."""
    year = np.arange(age)
    widths = (year + 3.0) ** -rng.uniform(0.1, 0.5) * np.exp(0.28 * rng.standard_normal(age))
    bounds = np.concatenate([[0], np.cumsum(widths)]) / widths.sum()
    position = (np.arange(RADII) + 0.5) / RADII
    years = np.interp(position, bounds, np.arange(age + 1))
    whole = np.minimum(years.astype(np.intp), age - 1)
    late = (years - whole) ** 2.5 * rng.uniform(0.6, 1.3, age)[whole]
    late += 0.22 * rng.standard_normal(age)[whole]
    width = max(
        1, round(RADII / pixels)
    )  # a pixel's footprint, so that rings finer than a pixel fade instead of making moire
    late = np.convolve(np.pad(late, (width, width), mode="edge"), np.full(width, 1 / width), mode="same")[width:-width]

    grown = age / (age + 25)
    share = kind.heart_share * grown * rng.uniform(0.8, 1.25)
    heart = np.clip((share - position) * 14 + 0.5, 0, 1) * min(1.0, 1.4 * grown)
    wood = np.array(kind.wood) + rng.normal(0, 0.03) * np.array([0.6, 1, 1.3]) + rng.normal(0, 0.012, 3)
    core = np.array(kind.heart) + rng.normal(0, 0.04) * np.array([0.6, 1, 1.2]) + rng.normal(0, 0.015, 3)
    contrast = kind.contrast * rng.uniform(0.7, 1.2)
    color = wood[:, None] + (core - wood)[:, None] * heart
    color = color * (1 - contrast * late * np.array([0.8, 1.05, 1.2])[:, None])
    color *= 1 - 0.45 * np.clip(1 - position * pixels / 1.3, 0, 1)

    outside = (np.arange(RADII + 1) + 0.5) / RADII
    bark = np.array(kind.bark) * rng.uniform(0.8, 1.2) + rng.normal(0, 0.02, 3)
    inner = np.clip(1 - outside * 3.5, 0, 1)
    skin = bark[:, None] * (0.75 + 0.35 * outside) + (np.array([0.62, 0.40, 0.25]) - bark)[:, None] * inner * 0.8
    alpha = np.clip((1 - outside) * bark_pixels, 0, 1)
    table = np.ones((4, 2 * RADII + 1), np.float32)
    table[:3, :RADII], table[:3, RADII:], table[3, RADII:] = color, skin * alpha, alpha
    return _clip(table)


def _clip(table: Floats) -> Floats:
    return np.clip(table, 0, 1, out=table)


def _disease(
    rng: np.random.Generator,
    image: Floats,
    alpha: Floats,
    q: Floats,
    u: Floats,
    v: Floats,
    turn: NDArray[np.intp],
    pixels: float,
) -> None:
    """Paints two or three of the five kinds of disease.

    `q` is 0 at the pith and 1 at the cambium, `u` and `v` point away from the pith.
    """
    size = q.shape[0]
    _, waves = _angles()
    wood = alpha * (q < 1)
    rough = _window(rng, "medium", size)
    for which in rng.permutation(5)[: rng.integers(2, 4)]:
        strength = rng.uniform(0.65, 1)
        if which == 0:  # rotten heart, hollow in the bad cases
            radius = rng.uniform(0.22, 0.6)
            edge = radius * (1 + 0.25 * waves[0, rng.integers(32)])[turn] + 0.05 * rough - q
            color = np.array([0.36, 0.25, 0.16]) + rng.uniform(-0.1, 0.12) * np.array([1, 1.1, 1.2])
            _blend(image, color, _ramp(edge * 7) * wood * np.float32(strength), alpha)
            if rng.random() < 0.5:
                _blend(
                    image,
                    np.array([0.06, 0.045, 0.035]),
                    _ramp((edge - radius * rng.uniform(0.3, 0.7)) * np.float32(pixels / 2)) * wood,
                    alpha,
                )
        elif which == 1:  # blue stain: wedges that grow inwards from the bark
            sector = _ramp((waves[0, rng.integers(32)] - 0.15) * 3)[turn]
            depth = _ramp((q - rng.uniform(0.35, 0.7)) * 5 + 0.5 * rough)
            _blend(
                image,
                np.array([0.38, 0.42, 0.45]) + rng.normal(0, 0.03, 3),
                sector * depth * wood * np.float32(0.8 * strength),
                alpha,
            )
        elif which == 2:  # star and ring shakes
            for direction in rng.uniform(0, 2 * np.pi, rng.integers(2, 6)):
                _crack(rng, image, alpha, q, u, v, direction, rng.uniform(0.02, 0.05), rng.uniform(0.6, 1.1))
        elif which == 3:  # beetle galleries
            for _ in range(rng.integers(4, 14)):
                row, column = rng.integers(0, size, 2)
                near = np.hypot(u - u[row, column], v - v[row, column]) * np.float32(pixels)
                _blend(
                    image,
                    np.array([0.10, 0.07, 0.05]),
                    _ramp(np.float32(rng.uniform(1.0, 2.2) * size / 64) + 0.3 - near) * wood,
                    alpha,
                )
        else:  # fungus under the bark
            sector = _ramp((waves[0, rng.integers(32)] - 0.5) * 3)[turn]
            ring = _ramp(1 - np.abs(q - 0.98) * np.float32(7) + 0.3 * rough)
            color = np.array(((0.93, 0.90, 0.82), (0.90, 0.60, 0.22), (0.60, 0.66, 0.34))[rng.integers(3)])
            _blend(image, color, sector * ring * alpha * np.float32(strength), alpha)


def _crack(
    rng: np.random.Generator,
    image: Floats,
    alpha: Floats,
    q: Floats,
    u: Floats,
    v: Floats,
    direction: float,
    width: float,
    length: float,
) -> None:
    """Paints a crack from near the pith outwards, `width` and `length` relative to the wood's radius."""
    x, y = np.float32(np.cos(direction)), np.float32(np.sin(direction))
    side = np.abs(u * y - v * x + np.float32(0.012) * _window(rng, "medium", q.shape[0]))
    open_ = np.float32(width) * _ramp((u * x + v * y) * 6) * _ramp((np.float32(length) - q) * 3)
    _blend(image, np.array([0.13, 0.09, 0.07]), _ramp((open_ - side) * 40) * alpha, alpha)


def _ground(rng: np.random.Generator, size: int) -> Floats:
    """A ground [3, S, S] without light."""
    base, second, fine, medium, coarse, streak = GROUNDS[rng.integers(len(GROUNDS))]
    mix = np.full((size, size), rng.uniform(0, 0.8))
    for name, weight in (("fine", fine), ("medium", medium), ("coarse", coarse), ("streak", streak)):
        if weight:
            mix += np.float32(weight * rng.uniform(0.6, 1.2) * 0.6) * _window(rng, name, size)
    first = np.array(base) * rng.uniform(0.75, 1.2) + rng.normal(0, 0.03, 3)
    change = (np.array(second) - np.array(base)) * rng.uniform(0.5, 1.2)
    ground = np.empty((3, size, size), np.float32)
    np.clip(mix, -0.6, 1.6, out=mix)
    for plane, a, b in zip(ground, first, change, strict=True):
        np.multiply(mix, np.float32(b), out=plane)
        plane += np.float32(a)
    return ground if rng.random() < 0.5 else ground.transpose(0, 2, 1)


def picture(rng: np.random.Generator, age: int, sick: int, species: int, size: int) -> NDArray[np.uint8]:
    """A picture uint8 [size, size, 3] of one trunk; `species` is an index into `SPECIES`.

    The disc is drawn at twice the size, everything smooth at the size itself.
    """
    kind, grown, full = KINDS[species], age / (age + 30), 2 * size
    reach = float(
        np.clip((0.30 + 0.62 * grown) * np.exp(0.10 * rng.standard_normal()), 0.24, 1.0)
    )  # radius, half a picture = 1
    room = max(0.12, 0.9 - reach)
    cx, cy = rng.uniform(-room, room, 2)
    squash, tilt, roll = rng.uniform(0.74, 1), rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    turn_in = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    to_disc = (
        np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        @ np.diag([1, 1 / squash])
        @ turn_in
        / reach
    )
    pith = rng.uniform(0, 0.4) * np.array([1.0, 0.0])

    axis = ((np.arange(full) + 0.5) / size - 1).astype(np.float32)
    u, v = (
        (np.float32(a) * (axis - np.float32(cx)))[None, :]
        + (np.float32(b) * (axis - np.float32(cy)) - np.float32(p))[:, None]
        for (a, b), p in zip(to_disc, pith, strict=True)
    )
    total = np.abs(u) + np.abs(v) + np.float32(1e-6)
    turn = ((np.copysign(1 - u / total, v) + 2) * np.float32(ANGLES / 4)).astype(np.intp)
    angle, waves = _angles()
    along = pith[0] * np.cos(angle)
    rim = np.sqrt(1 - pith[0] ** 2 + along**2) - along  # from the pith to a unit circle around the middle
    rim = rim * (
        1 + kind.lobes * rng.uniform(0.5, 1.6) * waves[0, rng.integers(32)] + 0.004 * waves[1, rng.integers(32)]
    )
    thick = kind.thickness * (0.3 + 0.9 * grown) * rng.uniform(0.75, 1.3)
    thickness = thick * np.clip(
        1 + kind.furrows * (0.6 * waves[1, rng.integers(32)] + 0.3 * waves[2, rng.integers(32)]), 0.25, 2
    )
    radius = np.sqrt(u * u + v * v)
    q = radius * (1 / rim).astype(np.float32)[turn]
    pixels = reach * size  # of the wood's radius in the drawing at twice the size
    steps = np.minimum(q, 1) + np.maximum(q - 1, 0) * (1 / thickness).astype(np.float32)[turn]
    table = _profile(rng, age, kind, pixels, thick * pixels)
    layers = np.take(table, np.minimum(steps * RADII, 2 * RADII).astype(np.intp), axis=1)
    layers[:3] *= (1 - kind.rays * rng.uniform(0.5, 1.2) * np.clip(waves[2, rng.integers(32)], 0, 1.5)).astype(
        np.float32
    )[turn]
    small = layers[:, ::2] + layers[:, 1::2]
    small = (small[:, :, ::2] + small[:, :, 1::2]) * np.float32(0.25)
    image, alpha = small[:3], small[3]
    q, u, v, turn = (np.ascontiguousarray(field[::2, ::2]) for field in (q, u, v, turn))

    bark = _ramp((q - 1) * np.float32(pixels / 2))
    texture = np.float32(kind.furrows * 0.5) * bark * _window(rng, "fine", size) + np.float32(0.025) * _window(
        rng, "medium", size
    )
    image *= 1 + texture
    if rng.random() < 0.35:  # drying opens a thin crack in sound wood too
        _crack(
            rng,
            image,
            alpha,
            q,
            u,
            v,
            rng.uniform(0, 2 * np.pi),
            rng.uniform(0.008, 0.02),
            rng.uniform(0.5, 1.1),
        )
    if sick:
        _disease(rng, image, alpha, q, u, v, turn, pixels / 2)

    sun = rng.uniform(0, 2 * np.pi)
    lx, ly = np.cos(sun), np.sin(sun)
    half = axis[::2] + np.float32(0.5 / size)
    ground = _ground(rng, size)
    fall = rng.uniform(0.05, 0.16)
    far = np.sqrt(
        ((half - cx + fall * lx)[None, :] ** 2 + (half - cy + fall * ly)[:, None] ** 2).astype(np.float32)
    ) / np.float32(reach * (1 + thick))
    ground *= 1 - np.float32(rng.uniform(0.3, 0.65)) * _ramp((np.float32(1.12) - far) * np.float32(rng.uniform(3, 8)))
    image += ground * (1 - alpha)
    light = 1 + np.float32(rng.uniform(0.03, 0.3)) * (np.float32(lx) * half[None, :] + np.float32(ly) * half[:, None])
    light *= np.float32(rng.uniform(0.72, 1.12))
    image *= light
    warmth = rng.normal(0, 0.035)
    image *= np.array([1 + warmth, 1, 1 - warmth], np.float32)[:, None, None]
    image += np.float32(rng.uniform(0.005, 0.02)) * _window(rng, "fine", size)
    pixels_out: NDArray[np.uint8] = (np.clip(image, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
    return pixels_out.transpose(1, 2, 0)
