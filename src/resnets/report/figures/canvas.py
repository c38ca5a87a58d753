"""A sheet of paper for a figure of the report: measured in pixels, with one set of colors and letters for all.

Matplotlib is used through its objects and the Agg canvas only: no pyplot, no `rcParams` written, and none of those that
a user set for his own figures is taken over where it would spoil ours. So drawings may run in several threads at once.
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
TRAINING = "#EE7733"  # orange: measured on the images that were trained on
HELD_OUT = "#0077BB"  # blue: measured on images held out
RIGHT = HELD_OUT
WRONG = "#CC3311"  # red
BEFORE = "#888888"  # gray: before a correction that is drawn in blue
INK = "#1F2328"
QUIET = "#59636E"
RULE = "#D8DEE4"
SHADE = "#F0F2F5"
PAPER = "#FFFFFF"

_DPI = 128  # only a unit, since sizes are given in pixels; a power of two divides and multiplies without a rest
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


class Sheet:
    """A white sheet of `width` x `height` pixels; all coordinates are pixels from its top left corner."""

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(
            figsize=(width / _DPI, height / _DPI),
            dpi=_DPI,
            facecolor=PAPER,
            edgecolor=PAPER,
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
        color: str = INK,
        align: Side = "left",
        room: float | None = None,
        keep: Keep = "start",
        bold: bool = False,
        turned: float = 0,
    ) -> None:
        """Write one line whose middle stands at height `y`, shortened to `room` pixels.

        Args:
            size: height of the letters in pixels.
            keep: which part of a line that is too long is kept.
            turned: degrees counter-clockwise.
        """
        line = font_fallback.drawable(content)
        if room is not None:
            line = shortened(line, size, room, keep=keep, bold=bold)
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
            rotation=turned,
            rotation_mode="anchor",
            parse_math=False,
            usetex=False,
        )

    def _share(self, frame: Frame) -> tuple[float, float, float, float]:
        """A frame as matplotlib measures it: shares of the sheet from the bottom left corner."""
        bottom = self.height - frame.top - frame.height
        return frame.left / self.width, bottom / self.height, frame.width / self.width, frame.height / self.height

    def axes(self, frame: Frame) -> Axes:
        """Coordinates for a plot in this frame: light horizontal rules, no box."""
        axes = self.figure.add_axes(self._share(frame), facecolor=PAPER)
        axes.set_axisbelow(True)
        axes.margins(x=0.03, y=0.05)
        for side, spine in axes.spines.items():
            spine.set(visible=side == "bottom", color=QUIET, linewidth=points(1.1))
        _plain_ticks(axes)
        return axes

    def fill(self, frame: Frame, color: str) -> None:
        """Color a rectangle."""
        from matplotlib.patches import Rectangle

        left, bottom, width, height = self._share(frame)
        whole = self.figure.transFigure
        self.figure.add_artist(
            Rectangle((left, bottom), width, height, transform=whole, facecolor=color, edgecolor="none", linewidth=0)
        )

    def image(self, left: float, top: float, pixels: np.ndarray) -> None:
        """Lay a uint8 (H, W, 3) image on the sheet, pixel for pixel."""
        height = pixels.shape[0]
        self.figure.figimage(pixels, round(left), round(self.height - top - height), origin="upper", resize=False)

    def pixels(self) -> np.ndarray:
        """What is drawn so far: uint8 (height, width, 3)."""
        for axes in self.figure.axes:
            for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
                label.set(usetex=False, parse_math=False)
        self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def save(self, out: str | Path) -> Path:
        """Write the sheet as PNG or JPEG, by the suffix of `out`."""
        from PIL import Image

        out = Path(out)
        image = Image.fromarray(self.pixels())
        with atomic_write.replace_file(out) as temporary:
            if out.suffix.lower() in (".jpg", ".jpeg"):
                image.save(temporary, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
            else:
                # On a gallery level 4 takes a tenth of the time of optimize=True, for 4 % more bytes.
                image.save(temporary, format="PNG", compress_level=4)
        return out


def _plain_ticks(axes: Axes) -> None:
    for which in (axes.xaxis, axes.yaxis):
        which.set_tick_params(
            which="both", direction="out", length=0, width=0, pad=points(8), color=QUIET,
            labelsize=points(_TICK_SIZE), labelcolor=QUIET, labelfontfamily=[font_fallback.FIRST],
            top=False, right=False, labeltop=False, labelright=False, labelbottom=True, labelleft=True,
            left=True, bottom=True,
        )  # fmt: skip
        which.set_tick_params(which="minor", bottom=False, left=False)
        which.get_offset_text().set_visible(False)
    axes.xaxis.grid(False, which="both")
    axes.yaxis.grid(True, which="major", color=RULE, linewidth=points(1.1), linestyle="-", alpha=1)
    axes.yaxis.grid(False, which="minor")


def readable_on(color: str) -> str:
    """White or ink, whichever stands out more on `color` (`#RRGGBB`), by the contrast ratio of WCAG 2."""
    return max((PAPER, INK), key=lambda ink: contrast(ink, color))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colors `#RRGGBB`, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def rgb(color: str) -> np.ndarray:
    """float (3,) of whole numbers, 0 to 255."""
    from matplotlib.colors import to_rgb

    return np.rint(255 * np.array(to_rgb(color)))


def _luminance(color: str) -> float:
    parts = (rgb(color) / 255).tolist()
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def points(pixels: float) -> float:
    """A length in pixels as the points that matplotlib wants for letters, lines and markers."""
    return pixels * 72 / _DPI


def _weight(fonts: Sequence[str], bold: bool) -> str:
    return "bold" if bold and all(map(font_fallback.has_bold, fonts)) else "normal"


@functools.cache
def _ruler() -> RendererAgg:
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, _DPI)


@functools.lru_cache(maxsize=8192)
def text_width(line: str, size: float, bold: bool = False) -> float:
    """How many pixels wide a drawable line is in letters of `size` pixels."""
    from matplotlib.font_manager import FontProperties

    if not line:
        return 0.0
    fonts = font_fallback.families_for(line)
    letters = FontProperties(family=fonts, size=points(size), weight=_weight(fonts, bold))
    return float(_ruler().get_text_width_height_descent(line, letters, ismath=False)[0])


def shortened(line: str, size: float, room: float, *, keep: Keep = "start", bold: bool = False) -> str:
    """The longest part of a drawable line that fits into `room` pixels, with an ellipsis for what is left out."""
    if text_width(line, size, bold) <= room:
        return line
    low, high = 0, len(line)  # letters kept: `low` fit, `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        if text_width(_cut(line, middle, keep), size, bold) <= room:
            low = middle
        else:
            high = middle
    return _cut(line, low, keep)


def _cut(line: str, letters: int, keep: Keep) -> str:
    if keep == "start":
        return line[:letters].rstrip() + font_fallback.ELLIPSIS
    if keep == "end":
        return font_fallback.ELLIPSIS + line[len(line) - letters :].lstrip()
    tail = letters // 3  # long class names often differ at their end
    return line[: letters - tail].rstrip() + font_fallback.ELLIPSIS + line[len(line) - tail :].lstrip()


def widest(lines: Sequence[str], size: float, most: float) -> float:
    """The width in pixels of the widest of some lines, at most `most`."""
    return min(most, max((text_width(font_fallback.drawable(line), size) for line in lines), default=0.0))
