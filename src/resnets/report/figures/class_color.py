"""The color of each class in figures."""

import colorsys
import functools

Color = tuple[int, int, int]  # red, green and blue, 0 to 255

_GOLDEN = 0.618034  # steps of this part of the circle keep the hues of any number of classes apart


@functools.cache
def class_color(label: int) -> Color:
    """The color of a class, the same in every image; that of neighboring classes differs most."""
    lightness, saturation = ((0.46, 0.85), (0.62, 0.9), (0.36, 0.7))[label // 8 % 3]
    red, green, blue = colorsys.hls_to_rgb((0.58 + _GOLDEN * label) % 1, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)
