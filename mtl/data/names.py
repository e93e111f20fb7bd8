"""Labels out of file names `<f0>_<f1>_..._<anything>.<ext>`; nothing here knows what the labels mean."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

NUMBER = re.compile(r"[0-9]{1,9}")


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
            raise Malformed(f"{part!r} is no label, expected a name like {layout(fields)}")
    values = [int(part) if part else None for part in parts]
    ways = [
        dict(zip(places, values, strict=True))
        for places in combinations(range(len(fields)), len(values))
        if all(v is None or fields[p].low <= v <= fields[p].high for p, v in zip(places, values, strict=True))
    ]
    if not ways:
        ranges = ", ".join(f"{field.name} {field.low} to {field.high}" for field in fields)
        raise Malformed(f"labels {'_'.join(parts)} are out of range ({ranges})")
    num = sum(value is not None for value in values)
    certain = {place: value for place, value in ways[0].items() if all(way.get(place) == value for way in ways)}
    found = [math.nan if (value := certain.get(place)) is None else float(value) for place in range(len(fields))]
    if num < len(fields) and (partial_labels == "skip" or all(math.isnan(value) for value in found)):
        raise Malformed(f"the name has {num} of {len(fields)} labels, expected a name like {layout(fields)}")
    return found


def layout(fields: Sequence[Field]) -> str:
    """How a file name should look, for messages."""
    return "".join(f"<{field.name}>_" for field in fields) + "<anything>.<ext>"
