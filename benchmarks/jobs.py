"""The jobs: what is compared with what, on which images, and the target ratio."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import generate_inputs
from harness import HERE, OURS, PEERS, PEERS_TORCH, Contender, Job

WORK = HERE.parent / "build" / "benchmarks"
FULL = {"predict": 2000, "train": 640, "steps": 24, "cifar": 12_800, "large": 24, "memory": 1000, "epochs": 10}
FULL |= {"scenes": 32, "detector_steps": 8, "small_scenes": 600, "masks": 200, "mask_images": 64, "serve_seconds": 15}
TINY = {"predict": 48, "train": 40, "steps": 2, "cifar": 1440, "large": 2, "memory": 40, "epochs": 1}
TINY |= {"scenes": 2, "detector_steps": 1, "small_scenes": 4, "masks": 16, "mask_images": 2, "serve_seconds": 1}
# Some 20 minutes of two cores. With two epochs, AP is 14 % and moves by a point with the rounding of pixels.
TRAINED_DETECTOR_EPOCHS = 6
CROP = 256  # pixels, of the training of a segmenter


def jobs(*, tiny: bool, flowers: Path | None, penn_fudan: Path | None = None) -> dict[str, Job]:
    """All jobs by their names; `tiny` shrinks them until they only show that they run. Nothing is prepared yet."""
    size = TINY if tiny else FULL
    made = [_predict(size["predict"]), _transfer(None if tiny else flowers, size["train"], size["epochs"])]
    made += [_predict_int8(size["predict"])]
    made += [_train(size["train"], size["steps"]), _cifar(size["cifar"]), _decode(size["large"])]
    made += [_memory(size["memory"])]
    made += _detection(size["scenes"], size["detector_steps"], size["small_scenes"], "tiny" if tiny else "full")
    made += [_penn_fudan(penn_fudan or HERE / "no_folder")]
    made += _segmentation(size["masks"], size["mask_images"])
    made += _serve(size["serve_seconds"])
    return {job.name: job for job in made}


def with_script(python: Path, script: str, *arguments: object) -> tuple[str, ...]:
    return (str(python), str(HERE / "contenders" / script), *map(str, arguments))


def _predict(count: int) -> Job:
    folder, weights = WORK / f"photographs-{count}", WORK / "resnet50.safetensors"
    ready = min(count, 640)

    def prepare() -> None:
        generate_inputs.photographs(folder, count)
        generate_inputs.checkpoint(weights, "resnet50", num_classes=5)

    return Job(
        "predict", f"predict a folder of {count:,} JPEGs with resnet50 at 224, end to end", "images/s",
        (
            Contender("resnets", with_script(OURS, "resnets_predict.py", folder, weights, WORK / "answers.csv")),
            Contender("torchvision script, fp32", with_script(OURS, "torch_predict.py", folder, "torchvision"), 5.0),
            Contender("Keras on TensorFlow, fp32", with_script(PEERS, "keras_predict.py", folder), 2.5, ("tensorflow", "keras")),
            Contender("OpenVINO bf16 on ready tensors", with_script(OURS, "openvino_tensors.py", ready), 0.9, ("openvino",)),
            Contender("timm script, fp32", with_script(OURS, "torch_predict.py", folder, "timm"), None, ("timm",)),
            Contender(
                "Ultralytics classify, fp32", with_script(PEERS_TORCH, "ultralytics_predict.py", folder, WORK / "ultralytics"),
                None, ("ultralytics", "torch"),
            ),
            Contender(
                "ONNX Runtime fp32 on ready tensors",
                with_script(PEERS_TORCH, "onnxruntime_tensors.py", ready, WORK / "resnet50.onnx"),
                None, ("onnxruntime", "onnxscript", "torchvision"),
            ),
        ),
        prepare, first=True,
    )  # fmt: skip


def _predict_int8(count: int) -> Job:
    folder, weights = WORK / f"photographs-{count}", WORK / "resnet50_int8_openvino"

    def prepare() -> None:
        generate_inputs.photographs(folder, count)
        generate_inputs.int8(weights, "resnet50", folder, num_classes=5)

    target = 10.0 if has_vnni() else 4.0
    return Job(
        "predict_int8", f"predict a folder of {count:,} JPEGs with resnet50 at 224 in int8, end to end", "images/s",
        (
            Contender("resnets, int8", with_script(OURS, "resnets_predict.py", folder, weights, WORK / "answers.csv")),
            Contender("torchvision script, fp32", with_script(OURS, "torch_predict.py", folder, "torchvision"), target),
        ),
        prepare, first=True,
    )  # fmt: skip


def _transfer(flowers: Path | None, count: int, epochs: int) -> Job:
    folder = flowers or WORK / f"photographs-{count}"
    kind = "flowers" if flowers else "synthetic"
    weights, split = WORK / f"trained_resnet50-{kind}-{count}.safetensors", WORK / f"split-{kind}-{count}.csv"
    theirs = weights.with_suffix(".h5")

    def prepare() -> None:
        if not flowers:
            generate_inputs.photographs(folder, count)
        WORK.mkdir(parents=True, exist_ok=True)
        if PEERS.exists():
            subprocess.run([PEERS, HERE / "keras_split.py", folder, split], check=True, stdout=sys.stderr)
        generate_inputs.trained(weights, "keras_resnet50", split if split.exists() else folder, epochs=epochs)
        convert = (str(OURS.with_name("resnets")), "weights", "convert", str(weights), "--to", "keras", "--no-top")
        backend = {**os.environ, "KERAS_BACKEND": "torch"}  # what .venv has
        subprocess.run([*convert, "--out", str(theirs)], check=True, stdout=sys.stderr, env=backend)

    settings = ("--recipe", "tutorial_transfer", "--weights", weights, "--epochs", epochs)
    return Job(
        "transfer", f"a frozen resnet50 at 180x180 in fp32 and a new head, {kind} images, epochs: {epochs}", "jobs/s",
        (
            Contender("resnets", with_script(OURS, "resnets_train_whole.py", WORK / "runs", split, *settings)),
            Contender(
                "Keras on TensorFlow, fp32", with_script(PEERS, "keras_transfer.py", folder, theirs, epochs), 15.0,
                ("tensorflow", "keras", "h5py"),
            ),
        ),
        prepare, points=1.0, first=True,
    )  # fmt: skip


def _train(count: int, steps: int) -> Job:
    folder = WORK / f"photographs-{count}"
    settings = ("--model", "resnet50", "--imgsz", 224, "--batch", 16, "--epochs", 2, "--val-fraction", 0)
    return Job(
        "train_resnet50", "train resnet50 at 224, batch 16", "images/s",
        (
            Contender("resnets", with_script(OURS, "resnets_train.py", WORK / "runs", folder, *settings)),
            Contender("torchvision script, fp32", with_script(OURS, "torch_train.py", folder, 16, steps, "torchvision"), 2.6),
            Contender(
                "Keras on TensorFlow, fp32", with_script(PEERS, "keras_train.py", folder, 16, steps), 3.5, ("tensorflow", "keras")
            ),
            Contender("timm script, fp32", with_script(OURS, "torch_train.py", folder, 16, steps, "timm"), None, ("timm",)),
        ),
        lambda: generate_inputs.photographs(folder, count),
    )  # fmt: skip


def _cifar(count: int) -> Job:
    folder = WORK / f"small-{count}"
    steps = 3 * (count * 9 // 10 // 128)  # three epochs
    settings = ("--recipe", "he2015_cifar", "--model", "cifar_resnet20", "--set", f"stop.steps={steps}")
    return Job(
        "train_cifar", "train cifar_resnet20, batch 128, with augmentation", "images/s",
        (
            Contender("resnets", with_script(OURS, "resnets_train.py", WORK / "runs", folder, *settings)),
            Contender("torchvision-style script, fp32", with_script(OURS, "cifar_script.py", folder / "train"), 3.0),
        ),
        lambda: generate_inputs.small(folder, count),
    )  # fmt: skip


def _decode(count: int) -> Job:
    folder = WORK / f"large-{count}"
    return Job(
        "decode", "12-megapixel JPEGs to 224 tensors, on one core", "images/s",
        (
            Contender("resnets", with_script(OURS, "resnets_decode.py", folder)),
            Contender("Pillow and torchvision, decoded whole", with_script(OURS, "pillow_decode.py", folder), 6.0),
        ),
        lambda: generate_inputs.photographs(folder, count, width=4000, height=3000),
    )  # fmt: skip


def _memory(count: int) -> Job:
    weights, few, many = WORK / "tiny.safetensors", WORK / f"small-{count}", WORK / f"small-{10 * count}"

    def prepare() -> None:
        generate_inputs.checkpoint(weights, "tiny", num_classes=10)
        generate_inputs.small(few, count)
        generate_inputs.small(many, 10 * count)

    return Job(
        "memory", f"peak memory of predict at {10 * count:,} images and at {count:,}", "bytes",
        (
            Contender("resnets, ten times the images", with_script(OURS, "resnets_memory.py", many, weights)),
            Contender("itself", with_script(OURS, "resnets_memory.py", few, weights), 1.05),
        ),
        prepare, limit=True,
    )  # fmt: skip


def _detection(count: int, steps: int, small_count: int, size: str) -> list[Job]:
    """Faster R-CNN on ResNet-50 at 800 pixels; the targets are half as high where the processor has no bf16."""
    scenes, small = WORK / f"scenes-{count}", WORK / f"small_scenes-{small_count}"
    train_scenes = WORK / f"train_scenes-{2 * steps}"
    weights = WORK / f"detector-{size}.safetensors"
    theirs, annotations = weights.with_suffix(".pth"), scenes / "annotations" / "instances_val2017.json"
    resnets, factor = str(OURS.with_name("resnets")), 1.0 if has_bf16() else 0.5

    def prepare() -> None:
        generate_inputs.scenes(scenes, "val", count)
        generate_inputs.scenes(train_scenes, "train", 2 * steps, seed=3)
        generate_inputs.scenes(small, "train", small_count, width=96, height=96, most=3, seed=4)
        generate_inputs.scenes(small, "val", max(small_count // 15, 1), width=96, height=96, most=3, seed=5)
        generate_inputs.detector(weights, "fasterrcnn_resnet50", small, epochs=TRAINED_DETECTOR_EPOCHS)
        if not theirs.exists():
            convert = (resnets, "weights", "convert", str(weights), "--to", "torchvision", "--out", str(theirs))
            subprocess.run(convert, check=True, stdout=sys.stderr)

    def ours(images: int, *arguments: object) -> Contender:
        return Contender("resnets", with_script(OURS, "whole_command.py", "--images", images, *arguments))

    def script(images: int, target: float, *arguments: object) -> Contender:
        return Contender(
            "torchvision script, fp32", with_script(OURS, "whole_command.py", "--images", images, *arguments),
            factor * target, ("pycocotools",),
        )  # fmt: skip

    own_file, peer_file = WORK / "found.json", WORK / "found_by_torchvision.json"
    peer = (OURS, HERE / "contenders" / "torch_detection.py")
    found = ("--annotations", annotations, "--found")
    training = (
        "--recipe", "coco_fasterrcnn", "--weights", "none", "--batch", 2, "--val-fraction", 0, "--epochs", 1,
        "--set", "task.shorter_side=800", "--out", WORK / "runs",
    )  # fmt: skip
    predict = (resnets, "predict", weights, scenes / "val2017", "--score", 0.05, "--coco-json", own_file)
    evaluate = (resnets, "evaluate", weights, scenes, "--split", "val", "--json")
    named = "with fasterrcnn_resnet50 at 800 pixels"
    made = [
        Job(
            "detection_predict", f"predict a folder of {count} images {named}", "images/s",
            (
                ours(count, *found, own_file, *predict),
                script(count, 4.0, *found, peer_file, *peer, "predict", scenes, theirs, peer_file),
            ),
            prepare, points=0.2, first=True,
        ),
        Job(
            "detection_evaluate", f"evaluate {count} images {named}, in fp32", "images/s",
            (ours(count, "--metrics", *evaluate), script(count, 2.5, "--metrics", *peer, "evaluate", scenes, theirs)),
            prepare, points=0.2,
        ),
        Job(
            "detection_train", "train fasterrcnn_resnet50 at 800 pixels, batch 2", "images/s",
            (
                ours(2 * steps, resnets, "train", train_scenes, *training),
                script(2 * steps, 2.5, *peer, "train", train_scenes, steps),
            ),
            prepare,
        ),
    ]  # fmt: skip
    if has_bf16():
        in_bf16 = ours(count, "--metrics", *evaluate, "--precision", "bf16")
        peer_evaluates = script(count, 4.0, "--metrics", *peer, "evaluate", scenes, theirs)
        made.append(
            Job(
                "detection_evaluate_bf16", f"evaluate {count} images {named}, in bf16", "images/s",
                (in_bf16, peer_evaluates), prepare, points=0.2,
            )
        )  # fmt: skip
    return made


def _segmentation(count: int, val_count: int) -> list[Job]:
    """The same U-Net on ResNet-18 as that of segmentation_models_pytorch, whose predictions are equal."""
    scenes, weights = WORK / f"label_masks-{count}-{val_count}", WORK / "unet_resnet18.safetensors"
    theirs, resnets = weights.with_suffix(".pth"), str(OURS.with_name("resnets"))
    batch, factor = 8, 1.0 if has_bf16() else 0.75
    needs = ("segmentation_models_pytorch",)
    training = (
        "--task", "segmentation", "--model", "unet_resnet18", "--weights", "none", "--batch", batch, "--epochs", 2,
        "--set", f"task.crop=[{CROP},{CROP}]",
    )  # fmt: skip
    images = scenes / "val" / "images"

    def prepare_images() -> None:
        generate_inputs.label_masks(scenes, "train", count)
        generate_inputs.label_masks(scenes, "val", val_count, seed=7)

    def prepare() -> None:
        prepare_images()
        generate_inputs.segmenter(weights, "unet_resnet18", num_classes=6)
        if not theirs.exists():
            convert = (resnets, "weights", "convert", weights, "--to", "smp", "--out", theirs)
            subprocess.run([str(each) for each in convert], check=True, stdout=sys.stderr)

    def predict(name: str, *command: object, target: float | None = None) -> Contender:
        return Contender(name, with_script(OURS, "whole_command.py", "--images", val_count, *command), target, needs)

    script = HERE / "contenders" / "smp_predict.py"
    return [
        Job(
            "segmentation_train", f"train unet_resnet18 on crops of {CROP} pixels, batch {batch}", "images/s",
            (
                Contender("resnets", with_script(OURS, "resnets_train.py", WORK / "runs", scenes, *training)),
                Contender(
                    "segmentation_models_pytorch script, fp32",
                    with_script(OURS, "smp_train.py", scenes, batch, count // batch, CROP), factor * 2.0, needs,
                ),
            ),
            prepare_images,
        ),
        Job(
            "segmentation_predict", f"predict the masks of {val_count} images of 480x360 with unet_resnet18", "images/s",
            (
                predict("resnets", resnets, "predict", weights, images, "--masks", WORK / "masks"),
                predict(
                    "segmentation_models_pytorch script, fp32", OURS, script, images, theirs, WORK / "masks_by_smp", target=3.0,
                ),
            ),
            prepare, first=True,
        ),
    ]  # fmt: skip


def _penn_fudan(folder: Path) -> Job:
    split, seconds = WORK / "penn_fudan.csv", WORK / "penn_fudan_seconds.json"
    target = 5.0 if has_bf16() else 2.5

    def prepare() -> None:
        WORK.mkdir(parents=True, exist_ok=True)
        subprocess.run([OURS, HERE / "penn_fudan_split.py", folder, split], check=True, stdout=sys.stderr)

    return Job(
        "penn_fudan", "Penn-Fudan from random weights to AP50 0.50", "jobs/s",
        (
            Contender("resnets", with_script(OURS, "resnets_penn_fudan.py", folder, split, WORK / "runs", seconds)),
            Contender(
                "torchvision's tutorial, fp32", with_script(OURS, "torch_penn_fudan.py", folder, split, seconds, target),
                target,
            ),
        ),
        prepare,
    )  # fmt: skip


@functools.cache
def has_vnni() -> bool:
    from resnets.inference import hardware

    return bool(hardware.cpu_flags() & {"avx_vnni", "avx512_vnni"})


@functools.cache
def has_bf16() -> bool:
    import torch

    from resnets.inference import hardware

    return bool(hardware.native_bf16_reason(torch.device("cpu")))


def _serve(seconds: int) -> list[Job]:
    """A server of resnet18 in fp32 and in int8 beside those of the peers, which are in fp32."""
    folder, int8 = WORK / "jpegs-224", WORK / "resnet18_int8_openvino"

    def prepare() -> None:
        generate_inputs.photographs(folder, 64, width=224, height=224)
        generate_inputs.int8(int8, "resnet18", folder, num_classes=5)

    def load(*command: str, body: str = "json", path: str = "/predict", latency: bool = False) -> tuple[str, ...]:
        options = ("--body", body, "--path", path, "--seconds", str(seconds), *(("--latency",) if latency else ()))
        return with_script(OURS, "serve_load.py", folder, *options, "--", *command)

    def ours(model: Path, *flags: str, body: str = "json", latency: bool = False) -> tuple[str, ...]:
        server = (str(OURS.with_name("resnets")), "serve", str(model), "--port", "PORT", *flags)
        return load(*server, body=body, path="/v1/predict", latency=latency)

    weights, fp32 = int8.with_suffix(".safetensors"), ("--precision", "fp32", "--backend", "openvino")
    needs = ("starlette", "uvicorn", "openvino")
    litserve = load(*with_script(PEERS_TORCH, "litserve_server.py"), "PORT")
    fastapi = load(*with_script(PEERS_TORCH, "fastapi_server.py"), "PORT")
    title = "answer requests with an image of 224x224 by resnet18, from 16 connections"
    return [
        Job(
            "serve", title, "requests/s",
            (
                Contender("resnets, OpenVINO in fp32", ours(weights, *fp32, latency=True), None, needs),
                Contender("LitServe, 2 workers, batches of 8, fp32", litserve, 1.4, ("litserve",), str(PEERS_TORCH)),
                Contender("FastAPI, fp32", fastapi, 2.0, ("fastapi", "uvicorn"), str(PEERS_TORCH)),
                Contender("resnets, bytes in place of base64", ours(weights, *fp32, body="raw"), None, needs),
                Contender("resnets, as it chooses", ours(weights, latency=True), None, needs),
            ),
            prepare,
        ),
        Job(
            "serve_int8", f"{title}, in int8", "requests/s",
            (
                Contender("resnets, int8", ours(int8, latency=True), None, needs),
                Contender("LitServe, 2 workers, batches of 8, fp32", litserve, 2.5, ("litserve",), str(PEERS_TORCH)),
                Contender("FastAPI, fp32", fastapi, 4.0, ("fastapi", "uvicorn"), str(PEERS_TORCH)),
            ),
            prepare,
        ),
    ]  # fmt: skip
