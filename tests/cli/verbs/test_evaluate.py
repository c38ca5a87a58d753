"""`resnets evaluate`: figures on stdout, for people and for machines, and in a folder."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from resnets.cli import main
from resnets.data.datasets import open_dataset, write_shards
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import write_split
from resnets.errors import UserError
from resnets.inference import backends, choose_backend, hardware
from resnets.tasks.classification import metrics
from resnets.tasks.classification.predict_samples import predict_samples
from resnets.tasks.evaluation.evaluate import evaluate_checkpoints
from resnets.tasks.load_model import load
from resnets.weights import checkpoint as checkpoints

ONE, TWO = "one.safetensors", "two.safetensors"


def evaluate(*words: str) -> int:
    return main.main(["evaluate", *words])


def printed(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_a_table_for_people(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(ONE, "data") == 0
    shown = capsys.readouterr()
    predictions = predict_samples([load(ONE)], open_dataset.read("data").samples)
    found = metrics.summarize(predictions)
    low, high = found["top1_interval"]
    assert f"{100 * found['top1']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]" in shown.out
    assert "15 images of 3 classes, one view of 32x32; 95 % intervals in brackets" in " ".join(shown.out.split())
    assert "größe" in shown.out
    assert "evaluating all 15 images (there is no split)" in shown.err


def test_json_for_machines(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(ONE, "data", "--json", "--batch", "4", "--workers", "0") == 0
    found = printed(capsys)
    predictions = predict_samples([load(ONE)], open_dataset.read("data").samples)
    expected = metrics.summarize(predictions)
    assert found["metrics"].keys() == expected.keys()
    for key, value in expected.items():  # in batches of another size the sums are taken in another order
        assert found["metrics"][key] == pytest.approx(value, rel=1e-4)
    assert [row["class"] for row in found["per_class"]] == ["ant", "bee", "größe"]
    assert (found["split"], found["checkpoints"], found["data"]) == ("all", [ONE], "data")


def test_several_are_an_ensemble(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(ONE, TWO, "data", "--json") == 0
    found = printed(capsys)
    assert found["checkpoints"] == [ONE, TWO]
    predictions = predict_samples([load(ONE), load(TWO)], open_dataset.read("data").samples)
    assert found["metrics"]["loss"] == pytest.approx(metrics.summarize(predictions)["loss"])
    assert evaluate(ONE, TWO, "data") == 0
    assert "ensemble of 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "protocol"), [("--crops 10", "10 crops of 32x32"), ("--scales 32,48", "sides of 32, 48")]
)
def test_test_time_augmentation(words: str, protocol: str, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(ONE, "data", "--json", *words.split()) == 0
    found = printed(capsys)
    assert protocol in found["protocol"]
    assert found["metrics"]["count"] == 15


def test_two_are_compared(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(ONE, TWO, "data", "--compare", "--out", "out") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "of 15)." in shown
    assert "one" in shown
    assert "two" in shown
    comparison = json.loads((trained / "out" / "comparison.json").read_text())
    assert comparison["count"] == 15
    for name in ("a", "b"):
        assert (trained / "out" / name / "predictions.csv").exists()
    assert evaluate(ONE, TWO, "data", "--compare", "--json") == 0
    found = printed(capsys)
    assert found["comparison"] == comparison
    assert [model["checkpoints"] for model in found["models"]] == [[ONE], [TWO]]
    difference = found["models"][1]["metrics"]["top1"] - found["models"][0]["metrics"]["top1"]
    assert comparison["difference"] == pytest.approx(difference)


def test_a_folder_of_results(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(ONE, "data", "--out", "results") == 0
    assert "wrote the tables, figures and predictions to results" in capsys.readouterr().err
    out = trained / "results"
    rows = list(csv.DictReader((out / "predictions.csv").open(encoding="utf-8")))
    assert len(rows) == 15
    assert {row["true"] for row in rows} == {"ant", "bee", "größe"}
    assert [row["class"] for row in csv.DictReader((out / "per_class.csv").open(encoding="utf-8"))] == [
        "ant",
        "bee",
        "größe",
    ]
    found = json.loads((out / "metrics.json").read_text())
    assert (found["count"], found["split"], found["protocol"]) == (15, "all", "one view of 32x32")
    for name in ("confusion_matrix.png", "reliability.png", "top_losses.png"):
        with Image.open(out / name) as image:
            image.load()
    assert (out / "report.html").stat().st_size > 1000


def test_results_do_not_replace_those_of_a_run(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / "run").mkdir()
    (trained / "run" / "recipe.toml").touch()
    assert evaluate(ONE, "data", "--out", "run") == 2
    assert "is a run directory with results of its own" in capsys.readouterr().err
    assert [path.name for path in (trained / "run").iterdir()] == ["recipe.toml"]


def test_a_run_is_evaluated_on_its_own_split(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / "run" / "weights").mkdir(parents=True)
    shutil.copy(ONE, "run/weights/best.safetensors")
    Path("run/recipe.toml").touch()
    write_split("run/split.csv", make_split(open_dataset.read("data"), val_fraction=0.2))
    assert evaluate("run", "data", "--json") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["split"], found["metrics"]["count"]) == ("val", 3)
    assert "evaluating the 3 images of the val split (run/split.csv, which the model was trained with)" in shown.err
    assert evaluate("run", "data", "--json", "--split", "all") == 0
    assert printed(capsys)["metrics"]["count"] == 15
    assert evaluate(ONE, "data", "--json", "--split-file", "run/split.csv", "--split", "train") == 0
    assert printed(capsys)["metrics"]["count"] == 12


def test_shards_of_images_smaller_than_the_input_are_reported(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shards.write("shards", make_split(open_dataset.read("data")), resize=16)
    assert evaluate(ONE, "shards", "--json") == 0
    shown = capsys.readouterr()
    assert "shorter side of 16 pixels, and 37 are needed" in json.loads(shown.out)["notices"][0]
    assert "37 are needed" not in shown.err  # printed once


def test_two_are_compared_on_images_that_none_of_them_learned_from(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held_out = []
    for name, seed in (("a", 1), ("b", 2)):
        (trained / name / "weights").mkdir(parents=True)
        shutil.copy(ONE if name == "a" else TWO, f"{name}/weights/best.safetensors")
        made = make_split(open_dataset.read("data"), val_fraction=0.6, seed=seed)
        Path(f"{name}/recipe.toml").touch()
        write_split(f"{name}/split.csv", made)
        held_out.append({sample.path for sample in made.subset("val")})
    assert evaluate("a", "b", "data", "--compare", "--json") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    both = held_out[0] & held_out[1]
    assert 0 < len(both) < len(held_out[0])
    assert (found["split"], found["comparison"]["count"]) == ("not_trained_on", len(both))
    assert not any("used to train" in notice for notice in found["notices"])
    trained = [15 - len(images) for images in held_out]
    assert f"the {len(both)} images that no model was trained on (of 15; 'a' was trained on {trained[0]}," in shown.err
    assert f"'b' was trained on {trained[1]})" in shown.err
    assert "a was trained on none of these images, and" in found["comparison"]["statement"]
    assert "new to both" not in found["comparison"]["statement"]
    assert "unseen" not in shown.err
    assert evaluate("a", "b", "data", "--compare", "--json", "--split", "val") == 0
    seen = len(held_out[0] - held_out[1])
    assert f"{seen} of the {len(held_out[0])} 'val' images were used to train 'b'" in printed(capsys)["notices"][0]


def test_images_used_to_select_the_epoch_are_reported(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / "run" / "weights").mkdir(parents=True)
    shutil.copy(ONE, "run/weights/best.safetensors")
    Path("run/recipe.toml").touch()
    write_split("run/split.csv", make_split(open_dataset.read("data"), val_fraction=0.2))
    assert evaluate("run", "data", "--out", "results") == 0
    shown = capsys.readouterr()
    words = "these images were used to select the epoch and the temperature of 'run/weights/best.safetensors'"
    assert f"Note: {words}" in " ".join(shown.out.split())
    assert "used to select" not in shown.err  # printed once
    found = json.loads((trained / "results" / "metrics.json").read_text())
    assert found["in_sample"] is True
    assert words in " ".join(found["notices"])
    assert "These images were used to select the epoch" in (trained / "results" / "report.html").read_text()
    assert "that were not trained on" not in (trained / "results" / "report.html").read_text()
    assert evaluate(ONE, "data", "--json") == 0
    found = printed(capsys)
    assert not found["in_sample"]
    assert not any("used to select" in notice for notice in found["notices"])


def test_each_of_two_models_has_its_own_view(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = checkpoints.read(TWO)
    checkpoints.save(Path("large.safetensors"), replace(other, preprocess=other.preprocess.with_size(64)))
    assert evaluate(ONE, "large.safetensors", "data", "--compare") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "one: one view of 32x32; large: one view of 64x64" in shown
    assert evaluate(ONE, "large.safetensors", "data", "--compare", "--json") == 0
    found = printed(capsys)
    assert [model["protocol"] for model in found["models"]] == ["one view of 32x32", "one view of 64x64"]
    assert found["protocol"] == "one view of 32x32 and one view of 64x64"


def test_the_temperature_is_fitted_on_val_and_stored(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(ONE, "data", "--calibrate", "--val-fraction", "0.4", "--json") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    stored = checkpoints.read(ONE)
    assert stored.temperature == found["metrics"]["temperature"] != 1.0
    assert stored.provenance["calibration"] == {"data": "data", "split": "val", "images": 6}
    assert f"stored in '{ONE}': temperature {stored.temperature:.3f} (was 1.000): loss " in shown.err
    before, after = (float(word) for word in shown.err.split("loss ")[1].split(",")[0].split(" -> "))
    assert after <= before
    assert load(ONE).task.fitted == {"temperature": stored.temperature}


def test_a_temperature_needs_images_that_are_new_to_the_model(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(ONE, "data", "--calibrate") == 2
    assert "was not trained on" in capsys.readouterr().err
    assert evaluate(ONE, TWO, "data", "--calibrate") == 2
    assert evaluate(ONE, "data", "--calibrate", "--crops", "10") == 2
    assert checkpoints.read(ONE).temperature == 1.0


def test_the_weights_of_the_package_are_not_changed(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("cifar_resnet20.cifar10", "data", "--calibrate", "--split", "val") == 2
    assert "comes with the package and is not changed. Calibrate a copy: resnets weights" in capsys.readouterr().err


def test_unreadable_images(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / "data" / "ant" / "empty.png").touch()
    assert evaluate(ONE, "data") == 1
    assert "empty.png" in capsys.readouterr().err
    assert evaluate(ONE, "data", "--on-bad", "skip", "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["metrics"]["skipped"] == 1
    assert "skipped: 1 of 16 images" in shown.err


@pytest.mark.parametrize(
    ("words", "shows"),
    [
        ("one.safetensors data --compare", "--compare needs two checkpoints"),
        ("one.safetensors data --scales 224,big", "received 'big'"),
        ("one.safetensors data --split tset", "Did you mean 'test'?"),
        ("one.safetensors", "DATA"),
    ],
)
def test_wrong_words(words: str, shows: str, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(*words.split()) == 2
    assert shows in capsys.readouterr().err


def test_evaluation_is_in_fp32_whatever_its_length_unless_a_precision_is_asked_for(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a processor with bf16, and where every job counts as a long one; the same command twice gives the same bytes."""
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx512_bf16"})
    monkeypatch.setattr(backends, "available", lambda device: ("torch",))
    assert evaluate(ONE, "data", "--json", "--out", str(tmp_path / "short")) == 0
    short = capsys.readouterr().out
    monkeypatch.setattr(choose_backend, "LONG_PIXELS", 1)
    for name in ("first", "second"):
        assert evaluate(ONE, "data", "--json", "--out", str(tmp_path / name)) == 0
        assert capsys.readouterr().out == short
    for file in ("predictions.csv", "metrics.json"):
        assert len({(tmp_path / name / file).read_bytes() for name in ("short", "first", "second")}) == 1
    found = json.loads((tmp_path / "first" / "metrics.json").read_text())
    assert (found["backend"], found["precision"]) == ("reference", "fp32")
    assert json.loads(short)["backend"] == "reference"

    assert evaluate(ONE, "data", "--json", "--precision", "bf16") == 0
    half = printed(capsys)
    assert (half["backend"], half["precision"]) == ("torch", "bf16")
    assert evaluate(ONE, "data") == 0
    assert "computed in fp32 by the backend reference" in capsys.readouterr().out


def test_no_model_is_better_by_images_that_selected_only_its_epoch(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, file in (("a", ONE), ("b", TWO)):
        (trained / name / "weights").mkdir(parents=True)
        shutil.copy(file, f"{name}/weights/best.safetensors")
    Path("b/recipe.toml").touch()
    write_split("b/split.csv", make_split(open_dataset.read("data"), val_fraction=0.4))
    assert evaluate("a", "b", "data", "--compare", "--json", "--split-file", "b/split.csv") == 0
    found = printed(capsys)["comparison"]
    assert found["exposure_a"] == {"trained_on": None, "selected_on": 0}
    assert found["exposure_b"] == {"trained_on": 0, "selected_on": found["count"]}
    assert (
        f"b was trained on none of these images, and {found['count']} were used to select its epoch"
        in found["statement"]
    )


def test_runs_are_called_by_their_names(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, file in enumerate((ONE, TWO)):
        folder = trained / "runs" / f"run{number}" / "weights"
        folder.mkdir(parents=True)
        shutil.copy(file, folder / "best.safetensors")
        shutil.copy(file, folder / "last.safetensors")
    assert evaluate("runs/run0", "runs/run1/weights/last.safetensors", "data", "--compare") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "between run0 and run1, last was shown" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("data one.safetensors", "The images come last: resnets evaluate one.safetensors data"),
        ("one.safetensors data data", "are evaluated on one dataset at a time: resnets evaluate one.safetensors data"),
        ("data data", "resnets evaluate CHECKPOINT data"),
        ("one.safetensors two.safetensors", "resnets evaluate one.safetensors two.safetensors DATA"),
    ],
)
def test_words_in_another_order_are_put_in_order(
    words: str, message: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(*words.split()) == 2
    assert message in capsys.readouterr().err
    assert main.main(["predict", "data", ONE]) == 2
    assert "'data' is a folder of images, not a checkpoint or run directory" in capsys.readouterr().err


def test_a_folder_of_images_with_a_config_is_data_and_paths_are_taken(trained: Path) -> None:
    (trained / "data" / "config.json").write_text("{}")
    assert evaluate_checkpoints([trained / ONE], trained / "data").data == str(trained / "data")
    with pytest.raises(UserError, match="The images come last"):
        evaluate_checkpoints([trained / "data"], trained / ONE)


def test_unknown_training_images_are_reported(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(ONE, TWO, "data", "--compare", "--json") == 0
    found = printed(capsys)["comparison"]
    assert found["exposure_a"]["trained_on"] is found["exposure_b"]["trained_on"] is None
    assert "whether a was trained on some of these images is not known; whether b was" in found["statement"]
