"""How much memory the graph of an exported file may ask for.

A file of a hundred bytes can ask for any amount: by values made of constants, which runtimes compute while they open it, or by
one that an image is enlarged to. A value whose size cannot be told is refused, too: files that resnets writes have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from resnets.errors import UserError
from resnets.message_format import format_bytes

ANY_SIZE = (96, 160)  # height and width of the image by which a graph for images of any size is judged
IMAGE_BYTES = 2**31  # at most, of the values that are needed at one time for one image
# At most, of all values made of constants: beside this multiple of the file, since weights in int8 become floats of four times
# the size, and are used in another order of the axes, too.
CONSTANT_BYTES, FILE_FACTOR = 2**26, 8
NOT_OURS = "has a graph that resnets does not write: the memory that it needs cannot be told. Export it again."

Node = tuple[Sequence[str], Sequence[str]]  # the names of its inputs and of its outputs


def check(nodes: Sequence[Node], sizes: Mapping[str, int], image: str, outputs: Sequence[str], file_bytes: int) -> None:
    """Raise UserError for a graph that asks for too much; the message is the end of a sentence.

    Args:
        nodes: those that compute, in order.
        sizes: of the values whose size can be told, in bytes, by name.
        image: the name of the input.
        outputs: the names of the outputs.
        file_bytes: the size of the file.
    """
    last_use = {name: index for index, node in enumerate(nodes) for names in node for name in names}
    last_use |= dict.fromkeys(outputs, len(nodes))
    of_image = {image}
    needed, of_constants = sizes.get(image, 0), 0
    for index, (used, made) in enumerate(nodes):
        if not sizes.keys() >= set(made):
            raise UserError(NOT_OURS)
        if of_image.isdisjoint(used):
            of_constants += sum(sizes[name] for name in made)
            continue
        of_image.update(made)
        needed += sum(sizes[name] for name in made)
        check_limit(needed, IMAGE_BYTES, "one image")
        needed -= sum(sizes.get(name, 0) for name in of_image & {*used, *made} if last_use[name] == index)
    check_limit(of_constants, CONSTANT_BYTES + FILE_FACTOR * file_bytes, "values made of constants")


def check_limit(needed: int, limit: int, what: str) -> None:
    """Raise UserError for more bytes than the limit; `what` needs them."""
    if needed > limit:
        raise UserError(f"asks for {format_bytes(needed)} for {what}; at most {format_bytes(limit)} are given.")
