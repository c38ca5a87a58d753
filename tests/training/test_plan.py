"""What a recipe leaves open is chosen, and what the user gave stays."""

from __future__ import annotations

import pytest

from resnets.recipes import book
from resnets.training import plan
from resnets.training.plan import Draft, Facts

FACTS = Facts(train_count=640, shorter_sides=(300, 200, 260), model_side=224)


def completed(**given: object) -> Draft:
    draft = Draft(book.find("scratch", "resnet18"))
    draft.set("model.name", "resnet18", "given: --model")
    for key, value in given.items():
        draft.set(key.replace("__", "."), value, "given: --set")
    plan.complete(draft, FACTS)
    return draft


def test_nothing_stays_open_and_every_choice_has_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    draft = completed(speed__device="cpu")
    recipe = draft.recipe
    assert (recipe.data.imgsz, recipe.data.batch) == (224, 32)
    assert recipe.augment.crop == "random_resized"
    assert recipe.data.workers is not None
    assert "auto" not in (recipe.speed.precision, recipe.speed.device)
    plan.tell(draft)
    lines = capsys.readouterr().err.splitlines()
    chosen = {key for key, origin in draft.origins.items() if origin.startswith("chosen")}
    assert {line.split()[0] for line in lines} == chosen
    assert all(line.endswith(")") and not line.endswith("()") for line in lines)


def test_what_was_given_stays() -> None:
    given = {"speed__device": "cpu", "speed__precision": "fp32", "data__workers": 5,
             "data__imgsz": 96, "data__batch": 10, "optim__lr": 0.25}  # fmt: skip
    draft = completed(**given)
    values = plan.keys(draft.recipe)
    assert {key: values[key.replace("__", ".")] for key in given} == given
