"""Labels out of file names `<f0>_<f1>_..._<anything>.<ext>`; nothing here knows what the labels mean."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

NUMBER = re.compile(r"[0-9]{1,9}")


def shown(path: object) -> str:
    """A path for a sentence: one line that every terminal can print, and no longer than a few lines."""
    text = str(path)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 300 else f"{text[:140]}...{text[-140:]}"


@dataclass(frozen=True)
class Field:
    """One label of the file name: an integer from `low` to `high`, both included."""

    name: str
    low: int
    high: int


class Malformed(Exception):
    """The file name does not give usable labels; the message says why."""


def labels(base: str, fields: Sequence[Field], partial_labels: str) -> list[float]:
    """The labels [K] in the base name of a picture, in the order of `fields`; NaN where one is missing.

    A name lacks labels when it has fewer than K numbers before its last part, as `61_1_2017.jpg` for three
    fields, or an empty place, as `61__2_2017.jpg`. With `partial_labels="skip"` such a name is refused. With
    "mask" an empty place is NaN and the rest is kept. Of too few numbers nothing is assumed but that they
    stand in the order of the fields: a number is kept only if every way of handing them to the fields, in
    order and within the ranges, gives it to the same field. With ranges 1 to 116, 0 to 1 and 0 to 4, 61 is
    surely the first label, but 1 may be the second or the third, and both become NaN. A value outside its
    range is wrong, not missing: the name is refused in both modes.

    Raises:
        Malformed: the name does not follow the layout, a value is out of range, or no label is certain.
    """
    parts = base.split("_")[:-1][: len(fields)]
    for part in parts:
        if part and not NUMBER.fullmatch(part):
            raise Malformed(f"{shown(part)!r} is no label, expected a name like {layout(fields)}")
    values = [int(part) if part else None for part in parts]
    places = _places(values, fields)
    last = [len(fields) - 1 - place for place in _places(values[::-1], fields[::-1])][::-1]
    if len(places) < len(values):
        ranges = ", ".join(f"{field.name} {field.low} to {field.high}" for field in fields)
        raise Malformed(f"labels {'_'.join(parts)} are out of range ({ranges})")
    num = sum(value is not None for value in values)
    found = [math.nan] * len(fields)
    for place, other, value in zip(places, last, values, strict=True):
        if place == other and value is not None:
            found[place] = float(value)
    if num < len(fields) and (partial_labels == "skip" or all(math.isnan(value) for value in found)):
        raise Malformed(f"the name has {num} of {len(fields)} labels, expected a name like {layout(fields)}")
    return found


def _places(values: Sequence[int | None], fields: Sequence[Field]) -> list[int]:
    """The first field that each value can take, in order; shorter where a value finds none.

    Handed out from the front and from the back, a value that gets the same field has no other. (All ways would
    be too many: 40 fields and 20 values have 10^11.)
    """
    places: list[int] = []
    for place, entry in enumerate(fields):
        if len(places) < len(values):
            value = values[len(places)]
            if value is None or entry.low <= value <= entry.high:
                places.append(place)
    return places


def layout(fields: Sequence[Field]) -> str:
    """How a file name should look, for messages."""
    return "".join(f"<{field.name}>_" for field in fields) + "<anything>.<ext>"
