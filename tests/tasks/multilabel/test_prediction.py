"""What is printed, and written into tables, for one image."""

from __future__ import annotations

from resnets.tasks.multilabel.prediction import Prediction


def test_labels_no_label_and_an_error() -> None:
    found = Prediction("a.png", (("sea", 0.9823), ("sky", 0.71)), ("sea", 0.9823))
    assert str(found) == "a.png  sea 98.2 %, sky 71.0 %"
    assert found.to_row() == {"path": "a.png", "labels": "sea|sky", "probabilities": "0.982300|0.710000", "error": ""}
    assert found.to_dict()["labels"][1] == {"label": "sky", "probability": 0.71}
    none = Prediction("b.png", (), ("sea", 0.12))
    assert str(none) == "b.png  no label (nearest: sea 12.0 %)"
    assert none.to_row()["labels"] == ""
    bad = Prediction("c\n.png", error="is empty")
    assert str(bad) == "c\\n.png  error: is empty"
    assert bad.to_dict() == {"path": "c\n.png", "labels": [], "top": None, "error": "is empty"}
