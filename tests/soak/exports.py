"""Export with faults, which must all be refused, and networks of every family, which must not.

    python tests/soak/exports.py faults
    python tests/soak/exports.py families --formats onnx openvino --names resnet50 unet_resnet18

Each export is compared with its checkpoint as `resnets export` does it. The networks have random weights, norms that fit their
images, and inputs of 65x97 pixels, or the only size that they take. The exit code is 1 if anything is accepted or refused
wrongly.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests import export_faults

from resnets.data.image.preprocess import Preprocess
from resnets.export import graph
from resnets.export.certificate import proof_images
from resnets.export.certificate.certificate import RuntimeProof
from resnets.export.certificate.certify import prove_all
from resnets.export.certificate.evidence import Evidence, collect
from resnets.export.certificate.proof_runtimes import runtime_choices
from resnets.export.traced_graph import FORMATS, TracedGraph
from resnets.inference.benchmark import calibrate_batch_norms_
from resnets.inference.exported.metadata import FEATURES, LOGITS, PROBABILITIES
from resnets.models import zoo
from resnets.models.detection import zoo as detectors
from resnets.models.resnet import find_backbone
from resnets.models.segmentation import zoo as segmenters
from resnets.tasks import load_model
from resnets.tasks.base import Task
from resnets.tasks.classification.task import Classification
from resnets.tasks.detection.config import DetectionConfig
from resnets.tasks.detection.task import Detection
from resnets.tasks.segmentation.config import SegmentationConfig
from resnets.tasks.segmentation.task import Segmentation
from resnets.weights.checkpoint import Checkpoint, save

SIZE = (65, 97)  # height and width
CLASSES = tuple("abcdefghij")
IMAGES = proof_images.of_scikit_learn()
FAMILIES = (
    "resnet18", "resnet50", "resnet34_a", "resnet34_c", "resnet50_v1", "resnet50_v2", "resnet200_v2", "resnet50c", "resnet50d",
    "wide_resnet50_2", "resnext50_32x4d", "se_resnet50", "cbam_resnet50", "plain34", "keras_resnet50", "keras_resnet50v2",
    "cifar_resnet110", "cifar_plain56", "cifar_preresnet164", "cifar_highway56", "wrn_16_8", "tutorial_resnet50",
    "notes_resnet50", "notes_basic_resnet", "tiny", "light_resnet18", "fcn_resnet18", "deeplabv3_resnet18",
    "deeplabv3plus_resnet18", "pspnet_resnet18", "unet_resnet18", "upernet_resnet18", "yolov3_resnet18",
)  # fmt: skip


def fault_proofs(fault: str, made: export_faults.Made, to: str, evidence: Evidence) -> Iterator[RuntimeProof]:
    """What each runtime that reads the format says of an export with a fault; "" for none."""
    contents, metadata = export_faults.contents_with(fault, made, to)
    choices = [each for each in runtime_choices(to, contents, metadata) if not each.default]
    yield from prove_all(choices, evidence)[0]


def run_faults(formats: Sequence[str], faults: Sequence[str] = export_faults.ALL) -> int:
    """Export with each fault in each format, and return how many were accepted, or refused without a fault."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        made = export_faults.make(Path(folder))
        evidence = collect(made.model, (PROBABILITIES, LOGITS, FEATURES), IMAGES, "normalize")
        for fault in ("", *faults):
            for to in formats:
                proofs = list(fault_proofs(fault, made, to, evidence))
                wrong += sum(bool(each.failing) != bool(fault) for each in proofs)
                for proof in proofs:
                    print(f"{fault or 'no fault'}, {to}: {proof}: {proof.failing or 'accepted'}", flush=True)
    print(f"{len(faults)} faults in {len(formats)} formats: {wrong} wrong", flush=True)
    return wrong


def checkpoint_of(name: str) -> Checkpoint:
    """A model with random weights and norms that fit its images."""
    preprocess = Preprocess(size=SIZE, resize="stretch", resize_to=None)
    task: Task
    if segmenters.is_segmenter(name):
        segmenter, spec = segmenters.get(name)
        task = Segmentation(CLASSES, SegmentationConfig(**vars(segmenter)))
    elif detectors.is_detector(name):
        detector, spec = detectors.get(name)
        task = Detection(CLASSES, DetectionConfig(**vars(detector)))
    else:
        spec = zoo.get_spec(name, num_classes=len(CLASSES))
        task = Classification(CLASSES, fitted={"temperature": 1.5})
    torch.manual_seed(0)
    net = task.build(spec)
    if fixed := find_backbone(net).fixed_size:
        preprocess = replace(preprocess, size=(fixed, fixed))
    net = calibrate_batch_norms_(net, torch.stack([preprocess(image) for image in proof_images.generated(8)]))
    config = {key: value for key, value in vars(task.config).items() if key != "name"}
    return Checkpoint(spec, preprocess, CLASSES, net.state_dict(), task=task.name, config=config, fitted=task.fitted)


def family_proofs(name: str, formats: Sequence[str]) -> Iterator[tuple[str, RuntimeProof]]:
    """What each runtime says of the export of a network, with its format."""
    checkpoint = checkpoint_of(name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.safetensors")
        save(file, checkpoint)
        trained = load_model.load(file, "cpu", precision="fp32")
        built = graph.build(trained.task, trained.model, trained.preprocess, "normalize")
        evidence = collect(trained, built.output_names, IMAGES, "normalize")
        traced = TracedGraph(built, "normalize", trained.preprocess.size, checkpoint, file)
        for to in formats:
            choices = [
                each for each in runtime_choices(to, traced.contents(to), traced.metadata(to)) if not each.default
            ]
            yield from ((to, proof) for proof in prove_all(choices, evidence)[0])


def run_families(formats: Sequence[str], names: Sequence[str] = FAMILIES) -> int:
    """Export each network in each format, and return how many were refused."""
    refused = 0
    for name in names:
        for to, proof in family_proofs(name, formats):
            refused += bool(proof.failing)
            print(f"{name}, {to}: {proof.in_words()}", flush=True)
    print(f"{len(names)} networks in {len(formats)} formats: {refused} refused", flush=True)
    return refused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="faults, families; both by default")
    parser.add_argument("--formats", nargs="+", default=FORMATS)
    parser.add_argument("--names", nargs="+", default=FAMILIES, help="of the networks")
    arguments = parser.parse_args()
    parts = arguments.parts or ("faults", "families")
    wrong = run_faults(arguments.formats) if "faults" in parts else 0
    wrong += run_families(arguments.formats, arguments.names) if "families" in parts else 0
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
