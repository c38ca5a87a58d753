"""Index files: what is written is read, and what is no index is refused without running code."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from resnets.errors import UserError
from resnets.tasks.embeddings import index_file
from resnets.tasks.embeddings.embedding_index import Index
from resnets.tasks.embeddings.pca import fit_pca

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def made(*, pca: bool = False) -> Index:
    vectors = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    index = Index(
        vectors, ("a.png", "größe/b.png", "c d.png", "e\nf.png", "g.png"), "/images", "net.safetensors", "0" * 64, "pooled",
        {"size": [32, 32]}, l2=pca, projection=fit_pca(vectors, 2) if pca else None,
    )  # fmt: skip
    return dataclasses.replace(index, vectors=index.transform(vectors))


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("pca", [False, True])
def test_what_is_written_is_read(suffix: str, pca: bool, tmp_path: Path) -> None:
    index = made(pca=pca)
    path = tmp_path / f"a{suffix}"
    index_file.write(index, path)
    found = index_file.read(path)
    for field in dataclasses.fields(Index):
        one, other = getattr(found, field.name), getattr(index, field.name)
        if field.name == "vectors":
            assert np.array_equal(one, other)
            assert one.dtype == np.float32
        elif field.name == "projection" and pca:
            assert np.array_equal(one.components, other.components)
            assert np.array_equal(one.mean, other.mean)
            assert one.explained == pytest.approx(other.explained)
        else:
            assert one == other, field.name
    assert list(tmp_path.iterdir()) == [path]


def test_other_programs_read_the_files(tmp_path: Path) -> None:
    index = made()
    for suffix in index_file.SUFFIXES:
        index_file.write(index, tmp_path / f"a{suffix}")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert file["paths"].tolist() == list(index.paths)
        assert json.loads(str(file["metadata"]))["checkpoint_sha256"] == "0" * 64
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.column("path").to_pylist() == list(index.paths)
    assert np.allclose(table.column("vector").to_pylist(), index.vectors)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (open, ("ran", "w"))


def damaged(folder: Path) -> list[Path]:
    """Files that are no index."""
    index = made()
    index_file.write(index, folder / "good.npz")
    index_file.write(index, folder / "good.parquet")
    with np.load(folder / "good.npz") as file:
        arrays = {name: file[name] for name in file.files}
    changes = {
        "pickled": {"paths": np.array([Hostile()] * 5, dtype=object)},
        "fewer": {"paths": arrays["paths"][:3]},
        "nan": {"vectors": np.full((5, 6), np.nan, np.float32)},
        "double": {"vectors": arrays["vectors"].astype(np.float64)},
        "future": {"metadata": np.array(json.dumps({**json.loads(str(arrays["metadata"])), "format": 99}))},
        "pca": {"pca_mean": np.zeros(3), "pca_components": np.zeros((2, 3)), "pca_explained": np.array(1.0)},
        "pca_nan": {
            "pca_mean": np.zeros(3, np.float32),
            "pca_components": np.full((6, 3), np.nan, np.float32),
            "pca_explained": np.array(1.0),
        },
        "empty": {"vectors": arrays["vectors"][:0], "paths": arrays["paths"][:0]},
        "nested": {"metadata": np.array("[" * 100_000)},
    }
    for name, change in changes.items():
        np.savez(folder / f"{name}.npz", **(arrays | change))
    np.save(folder / "array.npy", arrays["vectors"])
    (folder / "array.npy").rename(folder / "array.npz")
    (folder / "pickle.npz").write_bytes(pickle.dumps(Hostile()))
    (folder / "text.npz").write_text("no index")
    (folder / "text.parquet").write_text("no index")
    table = parquet.read_table(folder / "good.parquet")
    nameless = table.set_column(0, "path", pyarrow.array([None, *index.paths[1:]], pyarrow.string()))
    parquet.write_table(nameless, folder / "null.parquet")
    listed = table.column("vector").to_pylist()
    without = pyarrow.array([None, *listed[1:]], table.schema.field("vector").type)
    parquet.write_table(table.set_column(1, "vector", without), folder / "null_vector.parquet")
    for suffix in index_file.SUFFIXES:
        content = (folder / f"good{suffix}").read_bytes()
        (folder / f"cut{suffix}").write_bytes(content[: len(content) // 2])
    return sorted({*folder.iterdir()} - {folder / "good.npz", folder / "good.parquet"})


def test_files_that_are_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = damaged(tmp_path)
    assert len(files) == 17
    for path in files:
        with pytest.raises(UserError, match=f"'{path}' is not an index, or it is damaged"):
            index_file.read(path)
    for name, hint in (
        ("zzz.npz", r"`resnets embed CHECKPOINT PATH --out zzz\.npz` writes one"),
        ("gud.npz", r"Did you mean '.*/good\.npz'\?"),
        ("gone/a.npz", r"`resnets embed CHECKPOINT PATH --out a\.npz` writes one"),
    ):
        with pytest.raises(UserError, match=f"'{tmp_path / name}' cannot be read: No such file or directory. {hint}"):
            index_file.read(tmp_path / name)
    (tmp_path / "weights.safetensors").write_text("no index")
    with pytest.raises(UserError, match=r"damaged\. `resnets embed CHECKPOINT PATH --out INDEX\.npz` writes one"):
        index_file.read(tmp_path / "weights.safetensors")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", index_file.SUFFIXES)
def test_what_does_not_fit_into_the_memory_is_not_read(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compressed file may claim a thousand times its size."""
    path = tmp_path / f"a{suffix}"
    index_file.write(made(), path)
    monkeypatch.setattr(index_file, "free_memory", lambda: 5 * 6 * 4 - 1)
    with pytest.raises(UserError, match=rf"'{path}' needs .* of memory, and 119 bytes are free\. Embed fewer images"):
        index_file.read(path)


def test_outputs_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`out` is a file that ends in \.npz or \.parquet; received 'a\.csv'"):
        index_file.check_output("a.csv")
    index = dataclasses.replace(made(), paths=("a.png", "\udcff.png", "c", "d", "e"))
    with pytest.raises(UserError, match=r"'\\udcff\.png' is not UTF-8, which Parquet needs"):
        index_file.write(index, tmp_path / "a.parquet")
    assert not any(tmp_path.iterdir())
    index_file.write(index, tmp_path / "a.npz")
    assert index_file.read(tmp_path / "a.npz").paths == index.paths
