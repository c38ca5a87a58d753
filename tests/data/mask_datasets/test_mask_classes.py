from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnets.data.mask_datasets.mask_classes import IGNORE, MAX_CLASSES, UNKNOWN, make_classes, parse_values
from resnets.errors import UserError


def test_values_become_indices_ignored_or_unknown() -> None:
    classes = make_classes({7: "road", 3: "sky", 9: "road", 0: "Void"}, ignored=[255])
    assert classes.names == ("road", "sky")
    assert classes.values == ((7, 9), (3,))
    assert set(classes.ignored_values) == {0, 255}
    found = classes.indices(np.array([[7, 3, 9], [0, 255, 4]], np.uint8))
    assert found.tolist() == [[0, 1, 0], [IGNORE, IGNORE, UNKNOWN]]
    assert classes.indices(np.array([70_000, 65_536, 7], np.int32)).tolist() == [UNKNOWN, UNKNOWN, 0]


@given(st.lists(st.integers(0, 0xFFFFFF), min_size=1, max_size=20, unique=True), st.integers(0, 40), st.data())
def test_a_color_is_that_of_the_nearest_class_within_the_limit(
    known: list[int], tolerance: int, data: st.DataObject
) -> None:
    """Against all distances, one after the other."""
    classes = make_classes({value: f"class {value}" for value in known}, color_coded=True, tolerance=tolerance)
    asked = data.draw(st.lists(st.sampled_from(known) | st.integers(0, 0xFFFFFF), min_size=1, max_size=20))
    for value, index in zip(asked, classes.indices(np.array(asked, np.int32)).tolist(), strict=True):
        distances = [max(abs((value >> bits & 255) - (each >> bits & 255)) for bits in (0, 8, 16)) for each in known]
        if min(distances) > tolerance:
            assert index == UNKNOWN
        else:
            assert distances[index] == min(distances)


def test_the_map_of_a_user() -> None:
    classes = parse_values(("0=background", "255=person", "7=ignore"), tolerance=3)
    assert (classes.names, classes.values, classes.ignored_values) == (("background", "person"), ((0,), (255,)), (7,))
    assert classes.indices(np.array([2, 252, 251, 8], np.uint8)).tolist() == [0, 1, UNKNOWN, IGNORE]
    colors = parse_values(("#804080=road", "#000000=void"))
    assert (colors.names, colors.values, colors.color_coded) == (("road",), ((0x804080,),), True)


@pytest.mark.parametrize(
    "entries",
    [("person",), ("255",), ("255=",), ("x=y",), ("0=a", "0=b"), ("70000=a",), ("0=a", "#000000=b"), ("0=void",)],
)
def test_a_wrong_map_is_refused(entries: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="mask_values"):
        parse_values(entries)


def test_more_classes_than_indices_are_refused() -> None:
    make_classes({value: str(value) for value in range(MAX_CLASSES)})
    with pytest.raises(UserError, match="255 classes"):
        make_classes({value: str(value) for value in range(MAX_CLASSES + 1)})
