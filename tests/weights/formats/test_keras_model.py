"""Which backend Keras runs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.weights.formats import keras_model


@pytest.mark.parametrize(
    ("text", "backend"),
    [
        (None, "tensorflow"),
        ('{"backend": "jax"}', "jax"),
        ('{"backend": "os; x"}', "tensorflow"),
        ("[", "tensorflow"),
        ("[]", "tensorflow"),
    ],
)
def test_the_backend_in_the_settings_of_keras(
    text: str | None, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras writes that file when it is first imported, so that it is not a choice of the user."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    if text is not None:
        (tmp_path / "keras.json").write_text(text)
    assert keras_model._configured() == backend


def test_a_backend_that_is_not_installed_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "")
    monkeypatch.delenv("KERAS_BACKEND")
    (tmp_path / "keras.json").write_text('{"backend": "tensorflow"}')
    monkeypatch.setattr(
        keras_model.importlib.util, "find_spec", lambda name: None if name == "tensorflow" else object()
    )
    assert keras_model.import_keras().__name__ == "keras"
    assert keras_model.os.environ["KERAS_BACKEND"] == "torch"
