"""The commands of the long tests are accepted, so that `make soak` does not end with an error after weeks without a run."""

from __future__ import annotations

import pytest
import torch

from resnets.cli import main
from resnets.export import preprocess_graph


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    images = str(tmp_path_factory.mktemp("shapes") / "images")
    assert main.main(["data", "get", "shapes", images, "--count", "200", "--size", "32"]) == 0
    return images


@pytest.mark.parametrize("job", ["sgd", "adamw", "he2015", "light", "yolov3"])
def test_killed_runs_start_trainings_that_are_accepted(program, job, images, capsys):
    killed_runs = program("killed_runs")
    assert set(killed_runs.JOBS) == {"sgd", "adamw", "he2015", "light", "yolov3"}
    words = [
        "train",
        images,
        *killed_runs.COMMON.split(),
        "--device",
        "cpu",
        *killed_runs.JOBS[job].split(),
        "--dry-run",
    ]
    assert main.main(words) == 0, capsys.readouterr().err


@pytest.mark.parametrize("format_", ["coco", "yolo", "yolo.yaml", "voc", "csv", "jsonl"])
def test_damaged_annotations_are_read_or_refused(program, format_):
    fuzz_annotations = program("fuzz_annotations")
    assert format_ in fuzz_annotations.FILES
    assert fuzz_annotations.run(format_, 0, 5) == 0


def test_faults_of_files_are_refused_and_an_honest_export_is_not(program):
    exports = program("exports")
    assert exports.run_faults(["torch"], ["missing weights"]) == 0
    assert exports.run_families(["torch"], ["tiny"]) == 0


def test_the_preprocessings_of_graphs_are_those_of_pillow_without_a_runtime(program):
    graphs = program("preprocess_graphs")

    class Torch:
        def __init__(self, preprocess):
            self.module = preprocess_graph.build(preprocess, "full")

        def run(self, images, outputs):
            return [self.module(torch.from_numpy(images)).numpy()]

    images = graphs.images_of(None, 0)[1:4]
    for _, preprocess in graphs.preprocesses():
        largest, share = graphs.compare(preprocess, Torch(preprocess), images)
        assert largest <= 1.001
        assert share <= graphs.LIMITS[preprocess.interpolation]


def test_intervals_of_groups_cover_more_than_those_of_images(program):
    """Intervals over the images of groups that are alike are far too narrow."""
    by_group, by_image = program("coverage_of_groups").coverage(trials=25, groups=20)
    assert by_group >= 0.84
    assert by_image < by_group - 0.15


def test_rows_that_differ_from_those_of_one_process_are_found(program):
    parts_on_ray = program("parts_on_ray")
    row = {
        "path": "a",
        "part": "part-1",
        "sha256": "b",
        "label": "cat",
        "probability": 0.5,
        "top": [{"label": "cat", "probability": 0.5}, {"label": "dog", "probability": 0.3}],
        "error": None,
        "model_sha256": "c",
    }
    assert parts_on_ray.differences([row], [row | {"probability": 0.500009}]) == []
    tops = [
        [],
        [row["top"][0], row["top"][1] | {"probability": 0.3001}],
        [row["top"][0], row["top"][1] | {"label": "bee"}],
    ]
    changes = [{"probability": 0.5001}, {"label": "dog"}, {"error": "is empty"}, {"sha256": None}]
    for change in [*changes, *({"top": top} for top in tops)]:
        assert parts_on_ray.differences([row | change], [row]) == ["a"]
    assert (
        parts_on_ray.differences([row, row], [row])
        == parts_on_ray.differences([row | {"path": "b"}], [row])
        == parts_on_ray.differences([row | {"part": "part-2"}], [row])
        == ["the paths"]
    )
