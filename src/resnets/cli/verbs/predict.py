"""`resnets predict`."""

from functools import partial
from typing import Annotated

from typer import Argument, Option

from resnets.cli import flags

detection = partial(Option, rich_help_panel="Detection")
segmentation = partial(Option, rich_help_panel="Segmentation")


def predict(
    checkpoint: Annotated[
        str,
        Argument(
            help="A checkpoint, a run directory, an exported file, or a name of `weights list`.", metavar="CHECKPOINT"
        ),
    ],
    paths: Annotated[
        list[str], Argument(help="Images, folders, quoted patterns, or - for a list on stdin.", metavar="PATH")
    ],
    csv: Annotated[str | None, Option(help="Write a CSV table to this file; - for stdout.")] = None,
    jsonl: Annotated[str | None, Option(help="Write one JSON object per line to this file; - for stdout.")] = None,
    sort_into: Annotated[
        str | None, Option(help="Copy each image into a folder of its class within this folder.")
    ] = None,
    parquet: Annotated[
        str | None, Option(help="Write Parquet files of 1000 images each into this folder; for any number of images.")
    ] = None,
    resume: Annotated[bool, Option("--resume", help="Go on with the job of the folder of --parquet.")] = False,
    shard: Annotated[
        str | None, Option(help="Compute every n-th of these files only: i/n, with i from 1, as in a Slurm array.")
    ] = None,
    ray: Annotated[str | None, Option(help="Let a Ray cluster compute these files: auto, or its address.")] = None,
    heatmap: Annotated[
        str | None, Option(help="Folder for images with what raises and lowers the logit of the predicted class.")
    ] = None,
    top_k: Annotated[int | None, Option(help="Number of classes per image.  [default: 5, or all]")] = None,
    score: Annotated[float | None, detection(help="Least score of an object.  [default: as fitted]")] = None,
    agnostic_nms: Annotated[
        float | None, detection(help="IoU above which of two objects, of any class, the better one is kept.")
    ] = None,
    nms: Annotated[
        str | None, detection(help="Overlapping boxes of a class: hard, soft or soft-linear.  [default: hard]")
    ] = None,
    scales: Annotated[
        str, detection(help="Longer sides of the image in pixels, such as 480,640,800, in place of that of training.")
    ] = "",
    flip: Annotated[bool, detection("--flip", help="Also look at the mirror image.")] = False,
    tile: Annotated[
        int | None, detection(help="Also look at overlapping squares of this side, in pixels of the image.")
    ] = None,
    tile_overlap: Annotated[float | None, detection(help="Of two tiles, as a fraction.  [default: 0.2]")] = None,
    ensemble: Annotated[
        list[str] | None, detection(help="A further checkpoint, whose boxes are fused with those of the first.")
    ] = None,
    draw: Annotated[
        str | None, Option(help="Folder for images with boxes, or with the classes of their pixels.")
    ] = None,
    masks: Annotated[str | None, Option(help="Folder for images of the masks.")] = None,
    coco_json: Annotated[str | None, detection(help="File of annotations in COCO's format, with scores.")] = None,
    yolo_labels: Annotated[str | None, detection(help="Folder for YOLO's text files.")] = None,
    object_crops: Annotated[str | None, detection(help="Folder for the pixels of each object.")] = None,
    label_ids: Annotated[
        str | None, segmentation(help="Folder for masks with the values of the training masks, as servers take them.")
    ] = None,
    areas: Annotated[str | None, segmentation(help="CSV file of the area of each class.")] = None,
    probabilities: Annotated[str | None, segmentation(help="Folder for npz files of the probabilities.")] = None,
    batch: Annotated[int, Option(*flags.BATCH, help="Batch size.")] = 32,
    workers: Annotated[
        int | None, Option(help="Number of threads that read images.  [default: number of CPUs]")
    ] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda, 0, mps.")] = "auto",
    backend: Annotated[str, Option(help="auto, torch, compile or openvino.")] = "auto",
    precision: Annotated[str, Option(help="auto, bf16, fp32 (the reference) or int8.")] = "auto",
) -> None:
    """Predict images: print a line for each, write a table, draw what is found, or copy images into a folder per class.

    An image that cannot be read has an error in its row, and the exit code is then 1.

    Example: resnets predict runs/flowers holiday/ --csv predictions.csv
    """
    options = {name: value for name, value in locals().items() if name not in ("checkpoint", "paths")}
    from resnets.tasks import predict_files
    from resnets.tasks.inputs.parse_scales import parse_scales

    options |= {"scales": parse_scales(scales) or None, "flip": flip or None, "ensemble": ensemble or ()}
    predict_files.predict_files(checkpoint, paths, **options)
