"""`resnets search`."""

from typing import Annotated

from typer import Argument, Option

from resnets.cli import output


def search(
    index: Annotated[str, Argument(help="A file that `embed` wrote.", metavar="INDEX")],
    query: Annotated[str, Argument(help="An image.", metavar="QUERY")],
    top_k: Annotated[int, Option(help="Number of images to find.")] = 10,
    sheet: Annotated[str | None, Option(help="Draw the images that are found into this .png or .jpg file.")] = None,
    checkpoint: Annotated[
        str | None, Option(help="Where the model of the index is now.  [default: where it was]")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of lines.")] = False,
    device: Annotated[str, Option(help="auto, cpu, cuda, 0, mps.", rich_help_panel="Machine")] = "auto",
) -> None:
    """Find the indexed images that are most like an image: a line for each, similarity and path, the nearest first.

    The similarity is the cosine of the angle between two vectors, at most 1.

    Example: resnets search flowers.npz rose.jpg --top-k 5 --sheet nearest.png
    """
    from resnets.tasks.embeddings import index_file, search_index

    if sheet is not None:
        search_index.check_sheet(sheet)
    read = index_file.read(index)
    found = search_index.search_index(read, query, top_k=top_k, checkpoint=checkpoint, device=device)
    if as_json:
        output.print_json([hit.to_dict() for hit in found])
    else:
        for hit in found:
            output.echo(hit)
    if sheet is not None:  # after the lines, which take no time to print
        search_index.draw_sheet(read, query, found, sheet)
