"""Canvas of the report's figures: coordinates in pixels, one set of colors and fonts.

Matplotlib is used through its objects and the Agg canvas only, without pyplot and without writing `rcParams`, so that
figures may be drawn in several threads. `rcParams` of the user that would change these figures are overridden.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from resnets import atomic_write
from resnets.report.figures import font_fallback

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg

# Paul Tol's "vibrant" scheme, which stays distinct for color-blind readers (https://sronpersonalpages.nl/~pault/).
TRAINING = "#EE7733"  # orange
VALIDATION = "#0077BB"  # blue
RIGHT = VALIDATION
WRONG = "#CC3311"  # red
BEFORE = "#888888"  # gray: before temperature scaling
TEXT = "#1F2328"
MUTED = "#59636E"
GRID = "#D8DEE4"
LIGHT = "#F0F2F5"
BACKGROUND = "#FFFFFF"

_DPI = 128  # only a unit, since sizes are in pixels; a power of two makes the conversion exact
_JPEG_QUALITY = 90
_TICK_SIZE = 17  # pixels

Side = Literal["left", "center", "right"]
Keep = Literal["start", "middle", "end"]


class Frame(NamedTuple):
    """A rectangle in pixels."""

    left: float
    top: float
    width: float
    height: float


class Canvas:
    """A white figure of `width` x `height` pixels; all coordinates are pixels from its top left corner."""

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(
            figsize=(width / _DPI, height / _DPI),
            dpi=_DPI,
            facecolor=BACKGROUND,
            edgecolor=BACKGROUND,
            linewidth=0,
        )
        self.figure.set_layout_engine("none")
        self._canvas = FigureCanvasAgg(self.figure)

    def text(
        self,
        x: float,
        y: float,
        content: str,
        *,
        size: float = 14,
        color: str = TEXT,
        align: Side = "left",
        max_width: float | None = None,
        keep: Keep = "start",
        bold: bool = False,
        rotation: float = 0,
    ) -> None:
        """Draw one line of text, vertically centered at `y`, shortened to `max_width` pixels.

        Args:
            size: font size in pixels.
            keep: which end of a line that is too long is kept.
            rotation: degrees counter-clockwise.
        """
        line = font_fallback.drawable(content)
        if max_width is not None:
            line = shortened(line, size, max_width, keep=keep, bold=bold)
        fonts = font_fallback.families_for(line)
        self.figure.text(
            x / self.width,
            1 - y / self.height,
            line,
            fontsize=points(size),
            fontfamily=fonts,
            fontweight=_weight(fonts, bold),
            fontstyle="normal",
            color=color,
            ha=align,
            va="center_baseline",
            rotation=rotation,
            rotation_mode="anchor",
            parse_math=False,
            usetex=False,
        )

    def _relative(self, frame: Frame) -> tuple[float, float, float, float]:
        """A frame in matplotlib's figure coordinates: fractions of the figure from the bottom left corner."""
        bottom = self.height - frame.top - frame.height
        return frame.left / self.width, bottom / self.height, frame.width / self.width, frame.height / self.height

    def axes(self, frame: Frame) -> Axes:
        """Axes for a plot in this frame: light horizontal grid lines, no box."""
        axes = self.figure.add_axes(self._relative(frame), facecolor=BACKGROUND)
        axes.set_axisbelow(True)
        axes.margins(x=0.03, y=0.05)
        for side, spine in axes.spines.items():
            spine.set(visible=side == "bottom", color=MUTED, linewidth=points(1.1))
        _plain_ticks(axes)
        return axes

    def fill(self, frame: Frame, color: str) -> None:
        """Fill a rectangle with a color."""
        from matplotlib.patches import Rectangle

        left, bottom, width, height = self._relative(frame)
        transform = self.figure.transFigure
        self.figure.add_artist(
            Rectangle(
                (left, bottom), width, height, transform=transform, facecolor=color, edgecolor="none", linewidth=0
            )
        )

    def image(self, left: float, top: float, pixels: np.ndarray) -> None:
        """Draw a uint8 (H, W, 3) image, pixel for pixel."""
        height = pixels.shape[0]
        self.figure.figimage(pixels, round(left), round(self.height - top - height), origin="upper", resize=False)

    def pixels(self) -> np.ndarray:
        """The figure as uint8 (height, width, 3)."""
        for axes in self.figure.axes:
            for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
                label.set(usetex=False, parse_math=False)
        self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def save(self, out: str | Path) -> Path:
        """Write the figure as PNG or JPEG, by the suffix of `out`."""
        from PIL import Image

        out = Path(out)
        image = Image.fromarray(self.pixels())
        with atomic_write.replace_file(out) as temporary:
            if out.suffix.lower() in (".jpg", ".jpeg"):
                image.save(temporary, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
            else:
                # On an image grid level 4 takes a tenth of the time of optimize=True, for 4 % more bytes.
                image.save(temporary, format="PNG", compress_level=4)
        return out


def _plain_ticks(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_tick_params(
            which="both", direction="out", length=0, width=0, pad=points(8), color=MUTED,
            labelsize=points(_TICK_SIZE), labelcolor=MUTED, labelfontfamily=[font_fallback.FIRST],
            top=False, right=False, labeltop=False, labelright=False, labelbottom=True, labelleft=True,
            left=True, bottom=True,
        )  # fmt: skip
        axis.set_tick_params(which="minor", bottom=False, left=False)
        axis.get_offset_text().set_visible(False)
    axes.xaxis.grid(False, which="both")
    axes.yaxis.grid(True, which="major", color=GRID, linewidth=points(1.1), linestyle="-", alpha=1)
    axes.yaxis.grid(False, which="minor")


def readable_on(color: str) -> str:
    """White or the text color, whichever has the higher contrast on `color` (`#RRGGBB`), by WCAG 2."""
    return max((BACKGROUND, TEXT), key=lambda text: contrast(text, color))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colors `#RRGGBB`, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def rgb(color: str) -> np.ndarray:
    """float (3,) of whole numbers, 0 to 255."""
    from matplotlib.colors import to_rgb

    return np.rint(255 * np.array(to_rgb(color)))


def _luminance(color: str) -> float:
    channels = (rgb(color) / 255).tolist()
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def points(pixels: float) -> float:
    """A length in pixels as points, the unit of matplotlib's fonts, lines and markers."""
    return pixels * 72 / _DPI


def _weight(fonts: Sequence[str], bold: bool) -> str:
    return "bold" if bold and all(map(font_fallback.has_bold, fonts)) else "normal"


@functools.cache
def _renderer() -> RendererAgg:
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, _DPI)


@functools.lru_cache(maxsize=8192)
def text_width(line: str, size: float, bold: bool = False) -> float:
    """The width in pixels of a drawable line in font size `size`."""
    from matplotlib.font_manager import FontProperties

    if not line:
        return 0.0
    fonts = font_fallback.families_for(line)
    font = FontProperties(family=fonts, size=points(size), weight=_weight(fonts, bold))
    return float(_renderer().get_text_width_height_descent(line, font, ismath=False)[0])


def shortened(line: str, size: float, max_width: float, *, keep: Keep = "start", bold: bool = False) -> str:
    """The longest piece of a drawable line that fits into `max_width` pixels, with an ellipsis for the rest."""
    if text_width(line, size, bold) <= max_width:
        return line
    low, high = 0, len(line)  # characters: `low` fit, `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        if text_width(_cut(line, middle, keep), size, bold) <= max_width:
            low = middle
        else:
            high = middle
    return _cut(line, low, keep)


def _cut(line: str, count: int, keep: Keep) -> str:
    if keep == "start":
        return line[:count].rstrip() + font_fallback.ELLIPSIS
    if keep == "end":
        return font_fallback.ELLIPSIS + line[len(line) - count :].lstrip()
    tail = count // 3  # long class names often differ at their end
    return line[: count - tail].rstrip() + font_fallback.ELLIPSIS + line[len(line) - tail :].lstrip()


def widest(lines: Sequence[str], size: float, limit: float) -> float:
    """The width in pixels of the widest line, at most `limit`."""
    return min(limit, max((text_width(font_fallback.drawable(line), size) for line in lines), default=0.0))
