"""Which task a name, a model, data or a checkpoint means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from resnets.errors import UserError
from resnets.recipes.recipe import TaskConfig
from resnets.tasks import registry
from resnets.tasks.base import Task
from resnets.tasks.classification.task import Classification, ClassificationConfig
from resnets.weights import checkpoint as checkpoints


@dataclass(frozen=True)
class Stars(Task):
    """A task outside of the package, known by its data and by the names of its models."""

    name: ClassVar[str] = "stars"
    model_prefixes: ClassVar[tuple[str, ...]] = ("starry_",)
    Config: ClassVar[type[TaskConfig]] = TaskConfig

    @classmethod
    def recognizes(cls, location: Path) -> bool:
        return (location / "stars.txt").exists()


@pytest.fixture
def stars(monkeypatch: pytest.MonkeyPatch) -> type[Task]:
    monkeypatch.setattr(registry, "_registered", {})
    registry.register(Stars)  # type: ignore[type-abstract]
    return Stars


def test_a_task_is_a_folder_with_a_module_task() -> None:
    assert registry.find("classification") is Classification
    assert "classification" in registry.names()
    assert "inputs" not in registry.names()


def test_an_unknown_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"There is no task 'clasification'\. Did you mean 'classification'\?"):
        registry.find("clasification")


def test_every_name_is_found_and_is_that_of_its_task() -> None:
    assert [registry.find(name).name for name in registry.names()] == registry.names()


def test_a_registered_task_comes_first(stars: type[Task], world) -> None:
    assert registry.find("stars") is stars
    assert registry.names()[0] == "stars"
    assert registry.of_model("starry_resnet50") is stars
    assert registry.of_model("resnet50") is registry.of_model("") is registry.of_model(None) is None
    assert stars not in registry.of_data(world.data)


def test_data_may_be_of_several_tasks(stars: type[Task], tmp_path: Path) -> None:
    (tmp_path / "stars.txt").touch()
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").touch()
    assert registry.of_data(tmp_path)[0] is stars
    assert registry.of_data(tmp_path)[-1] is Classification


@pytest.mark.parametrize("location", ["digits", "nothing/here"])
def test_other_data_are_for_classification_whose_reader_says_what_is_wrong(location: str) -> None:
    assert registry.of_data(location)[-1] is Classification


def test_the_task_of_a_checkpoint(world) -> None:
    found = checkpoints.read(world.checkpoint)
    task = registry.of_checkpoint(replace(found, config={"label_smoothing": 0.1}))
    assert task == Classification(found.class_names, ClassificationConfig(label_smoothing=0.1), {"temperature": 1.5})
    unnamed = registry.of_checkpoint(replace(found, class_names=()))
    assert unnamed.class_names == ("output 0", "output 1", "output 2")
    with pytest.raises(UserError, match=r"settings that the task classification does not know: .*'blur'"):
        registry.of_checkpoint(replace(found, config={"blur": 1}))
    with pytest.raises(UserError, match="There is no task 'stars'"):
        registry.of_checkpoint(replace(found, task="stars"))
