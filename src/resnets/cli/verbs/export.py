"""`resnets export`."""

from typing import Annotated

from typer import Argument, Option

from resnets.cli import flags, output


def export(
    checkpoint: Annotated[
        str, Argument(help="A checkpoint, a run directory, or a name of `weights list`.", metavar="CHECKPOINT")
    ],
    to: Annotated[
        str, Option("--format", help="onnx, torch (a .pt2), openvino, huggingface or timm (folders).")
    ] = "onnx",
    layout: Annotated[
        str | None,
        Option(
            help="repository: OUT/NAME/1/model.onnx and its config.pbtxt, as Triton, KServe and OpenVINO Model Server read it."
        ),
    ] = None,
    out: Annotated[
        str | None, Option(*flags.OUT_DIR, help="File or folder to write.  [default: beside the checkpoint]")
    ] = None,
    preprocess: Annotated[
        str,
        Option(
            help="Input of the file: full (uint8 pixels of any size), normalize (of the network's size) or none "
            "(normalized floats)."
        ),
    ] = "normalize",
    heatmap: Annotated[bool, Option("--heatmap", help="Classifiers: add the map of each class as an output.")] = False,
    images: Annotated[
        list[str] | None, Option(help="Images or folders to compare on.  [default: the val images of the run]")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print the certificate as JSON.")] = False,
) -> None:
    """Write a model for other runtimes, and prove in each of them that it computes what the checkpoint does.

    A file whose outputs differ too much is kept as OUT.refused, and the exit code is then 1.

    Example: resnets export runs/flowers --format onnx
    """
    from resnets.api import export as api

    try:
        certificate = api.export_model(
            checkpoint, out, format=to, layout=layout, preprocess=preprocess, heatmap=heatmap, images=images or ()
        )
    except api.RefusedExportError as refused:
        if as_json:
            output.print_json(refused.certificate.to_dict())
        raise
    if as_json:
        output.print_json(certificate.to_dict())
        return
    for line in certificate.lines():
        output.print_line(line)
    output.print_line(certificate.path)
