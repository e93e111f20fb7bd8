from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import FIELDS

from mtl.data.names import Field, Malformed, labels

NAN = math.nan


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("61_1_2_20170109.jpg", [61, 1, 2]),
        ("116_0_4_20170109150557335.jpg.chip.jpg", [116, 0, 4]),
        ("24_0_1_20170116220224657 .jpg.chip.jpg", [24, 0, 1]),
        ("55_0_0_20170116232725357jpg.chip.jpg", [55, 0, 0]),
        ("7_1_3_a_9_b.png", [7, 1, 3]),
    ],
)
@pytest.mark.parametrize("partial_labels", ["skip", "mask"])
def test_complete_names(base: str, expected: list[float], partial_labels: str) -> None:
    assert labels(base, FIELDS, partial_labels) == expected


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("61_1_20170109150557335.jpg.chip.jpg", [61, NAN, NAN]),  # 1 may be the second or the third
        ("61_3_20170109150557335.jpg.chip.jpg", [61, NAN, 3]),  # 3 is no value of the second
        ("61_20170109150557335.jpg", [61, NAN, NAN]),
        ("61__2_20170109150557335.jpg", [61, NAN, 2]),
        ("_1__20170109150557335.jpg", [NAN, 1, NAN]),
    ],
)
def test_partial_names_keep_only_what_is_certain(base: str, expected: list[float]) -> None:
    assert labels(base, FIELDS, "mask") == pytest.approx(expected, nan_ok=True)
    with pytest.raises(Malformed, match=r"of 3 labels, expected a name like <size>_<ripe>_<kind>_<anything>"):
        labels(base, FIELDS, "skip")


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        ("0_1_2_x.jpg", "out of range"),
        ("117_1_2_x.jpg", "out of range"),
        ("61_2_2_x.jpg", "out of range"),
        ("61_1_5_x.jpg", "out of range"),
        ("61_9_x.jpg", "out of range"),
        ("-5_1_2_x.jpg", "'-5' is no label"),
        ("6.5_1_2_x.jpg", "'6.5' is no label"),
        ("٣_1_2_x.jpg", "is no label"),
        ("holiday_1_2_x.jpg", "'holiday' is no label"),
        ("portrait.jpg", "0 of 3 labels"),
        ("1_x.jpg", "1 of 3 labels"),  # may be any of the three
        ("___x.jpg", "0 of 3 labels"),
    ],
)
def test_malformed_names_are_refused_in_both_modes(base: str, reason: str) -> None:
    for partial_labels in ("skip", "mask"):
        with pytest.raises(Malformed, match=reason):
            labels(base, FIELDS, partial_labels)


values = st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=5)
ranges = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5)


@given(values, ranges)
def test_a_label_is_kept_if_every_way_to_hand_them_out_agrees(
    values: list[int | None], ranges: list[tuple[int, int]]
) -> None:
    fields = [Field(str(place), low, high) for place, (low, high) in enumerate(ranges)]
    values = values[: len(fields)]
    ways = [
        dict(zip(places, values, strict=True))
        for places in combinations(range(len(fields)), len(values))
        if all(v is None or ranges[p][0] <= v <= ranges[p][1] for p, v in zip(places, values, strict=True))
    ]
    expected = [NAN] * len(fields)
    for place in range(len(fields)):
        found = {way.get(place) for way in ways}
        if len(found) == 1 and None not in found:
            expected[place] = found.pop()
    base = "".join(f"{'' if value is None else value}_" for value in values) + "x.jpg"
    if all(map(math.isnan, expected)):
        with pytest.raises(Malformed):
            labels(base, fields, "mask")
    else:
        assert labels(base, fields, "mask") == pytest.approx(expected, nan_ok=True)


def test_many_fields_of_which_half_are_missing() -> None:
    """There are 10^23 ways to hand out 40 labels to 80 fields."""
    fields = [Field(str(number), 0, 1) for number in range(80)]
    with pytest.raises(Malformed, match="the name has 40 of 80 labels"):
        labels("1_" * 40 + "x.jpg", fields, "mask")
