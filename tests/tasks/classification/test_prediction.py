"""A prediction as a line, as a row of CSV, and as JSON."""

from __future__ import annotations

import json

from resnets.tasks.classification.prediction import Prediction

GOOD = Prediction("a, b.jpg", "cat", 0.75, (("cat", 0.75), ("dog, wet", 0.25)))
BAD = Prediction("broken.jpg", error="is empty (0 bytes).")


def test_one_line_per_image() -> None:
    top = (("daisy", 0.982), ("tulips", 0.0111), ("roses", 0.0065), ("sunflowers", 0.0004))
    assert str(Prediction("a.jpg", "daisy", 0.982, top)) == "a.jpg  daisy 98.2 %  (tulips 1.1 %, roses 0.7 %)"
    assert str(Prediction("a.jpg", "daisy", 1.0, (("daisy", 1.0), ("tulips", 0.0)))) == "a.jpg  daisy 100.0 %"
    assert str(Prediction("a.jpg", error="is empty (0 bytes).")) == "a.jpg  error: is empty (0 bytes)."


def test_a_name_cannot_steer_the_terminal() -> None:
    assert str(Prediction("\x1b[2Ja\nb.jpg", "c\rd", 1.0, (("c\rd", 1.0),))) == r"\x1b[2Ja\nb.jpg  c\rd 100.0 %"


def test_a_name_that_is_no_text_leaves_as_it_came() -> None:
    assert str(Prediction("größe 猫 \udcff", "x", 1.0, (("x", 1.0),))).startswith("größe 猫 \udcff  x")


def test_the_cells_of_a_row() -> None:
    assert GOOD.to_row() == {
        "path": "a, b.jpg", "label": "cat", "probability": "0.750000", "error": "", "label_2": "dog, wet",
        "probability_2": "0.250000",
    }  # fmt: skip
    assert BAD.to_row() == {"path": "broken.jpg", "error": "is empty (0 bytes)."}


def test_json() -> None:
    odd = Prediction("two\nlines\udcff.jpg", "x", 1.0, (("x", 1.0),))
    good, bad, odd_path = (json.loads(json.dumps(each.to_dict())) for each in (GOOD, BAD, odd))
    assert good["top"] == [{"label": "cat", "probability": 0.75}, {"label": "dog, wet", "probability": 0.25}]
    assert (good["path"], good["label"], good["probability"], good["error"]) == ("a, b.jpg", "cat", 0.75, None)
    assert (bad["label"], bad["probability"], bad["top"], bad["error"]) == (None, None, [], "is empty (0 bytes).")
    assert odd_path["path"] == odd.path
