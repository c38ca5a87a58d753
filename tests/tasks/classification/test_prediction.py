"""How a prediction reads."""

from __future__ import annotations

from resnets.tasks.classification.prediction import Prediction


def test_a_line_a_image() -> None:
    top = (("daisy", 0.982), ("tulips", 0.0111), ("roses", 0.0065), ("sunflowers", 0.0004))
    assert str(Prediction("a.jpg", "daisy", 0.982, top)) == "a.jpg  daisy 98.2 %  (tulips 1.1 %, roses 0.7 %)"
    assert str(Prediction("a.jpg", "daisy", 1.0, (("daisy", 1.0), ("tulips", 0.0)))) == "a.jpg  daisy 100.0 %"
    assert str(Prediction("a.jpg", error="is empty (0 bytes).")) == "a.jpg  error: is empty (0 bytes)."


def test_a_name_cannot_steer_the_terminal() -> None:
    assert str(Prediction("\x1b[2Ja\nb.jpg", "c\rd", 1.0, (("c\rd", 1.0),))) == r"\x1b[2Ja\nb.jpg  c\rd 100.0 %"


def test_a_name_that_is_no_text_leaves_as_it_came() -> None:
    assert str(Prediction("größe 猫 \udcff", "x", 1.0, (("x", 1.0),))).startswith("größe 猫 \udcff  x")
