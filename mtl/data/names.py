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

    def accepts(self, value: int) -> bool:
        return self.low <= value <= self.high


class Malformed(Exception):
    """The file name does not give usable labels; the message says why."""


def labels(base: str, fields: Sequence[Field], partial_labels: str) -> list[float]:
    """The labels [K] of a picture with base name `base`, in the order of `fields`; NaN where one is missing.

    A name lacks labels when it has fewer than K numbers before its last part (`61_1_20170109.jpg` of age, gender and
    ethnicity) or an empty place (`61__2_20170109.jpg`). With `partial_labels="skip"` such a name is refused. With "mask" an
    empty place is NaN and the others are kept; with too few numbers it is assumed that they stand in the order of the
    fields and nothing else: a number is kept only if every way of handing the numbers to the fields, in order and within their
    ranges, gives it to the same field. So 61 can only be the age, while 1 may be the gender or the ethnicity: both become
    NaN. A value outside its range is a wrong label, not a missing one, and is refused in both modes.

    Raises:
        Malformed: the name does not follow the layout, a value is out of range, or no label is certain.
    """
    parts = base.split("_")[:-1][: len(fields)]
    for text in parts:
        if text and not NUMBER.fullmatch(text):
            raise Malformed(f"{text!r} in the name is not a label, expected {layout(fields)}")
    numbers = [int(text) if text else None for text in parts]
    ways = []
    for places in combinations(range(len(fields)), len(numbers)):
        pairs = list(zip(places, numbers, strict=True))
        if all(number is None or fields[place].accepts(number) for place, number in pairs):
            ways.append({place: number for place, number in pairs if number is not None})
    if len(numbers) == len(fields) and None not in numbers:
        if not ways:
            raise Malformed(_out_of_range(fields, numbers))
        return [float(number) for number in ways[0].values()]
    if partial_labels == "skip" or not ways:
        found = sum(number is not None for number in numbers)
        raise Malformed(f"the name has {found} of {len(fields)} labels, expected {layout(fields)}")
    certain = [ways[0].get(place) if all(w.get(place) == ways[0].get(place) for w in ways) else None for place in range(len(fields))]
    if all(value is None for value in certain):
        raise Malformed(f"no label of the name is certain, expected {layout(fields)}")
    return [math.nan if value is None else float(value) for value in certain]


def layout(fields: Sequence[Field]) -> str:
    """How a file name should look, for messages."""
    return "".join(f"<{field.name}>_" for field in fields) + "<anything>.<ext>"


def _out_of_range(fields: Sequence[Field], numbers: Sequence[int | None]) -> str:
    wrong = [
        f"{field.name}={number} is outside {field.low} to {field.high}"
        for field, number in zip(fields, numbers, strict=True)
        if number is not None and not field.accepts(number)
    ]
    return ", ".join(wrong)
