"""Sides of images in pixels, as they are written in a command."""

from resnets.errors import UserError


def parse_scales(text: str) -> tuple[int, ...]:
    """The sides in `224,256,384`; none for an empty text.

    Raises:
        UserError: one of them is not a number of pixels.
    """
    words = [word.strip() for word in text.split(",")] if text else []
    for word in words:
        if not (word.isascii() and word.isdigit() and int(word) > 0):
            raise UserError(f"`scales` is a list of sides in pixels, such as 224,256,384; received '{word}'.")
    return tuple(map(int, words))
