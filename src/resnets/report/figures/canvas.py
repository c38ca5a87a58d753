"""The style of the report's figures, and their files.

Matplotlib is used without pyplot, under a lock and with its own defaults, so that figures may be drawn in several threads and
what a user set in `rcParams`, such as `text.usetex`, cannot make a figure fail.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from resnets import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Paul Tol's "vibrant" scheme, which stays distinct for color-blind readers (https://sronpersonalpages.nl/~pault/).
TRAINING = "#EE7733"  # orange
VALIDATION = "#0077BB"  # blue
RIGHT = VALIDATION
WRONG = "#CC3311"  # red
TEXT = "#1F2328"
MUTED = "#59636E"
GRID = "#D8DEE4"
LIGHT = "#F0F2F5"

DPI = 128
HEADING_TOP = 24  # pixels above the heading of a page with a background
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 10, "text.color": TEXT, "text.parse_math": False,  # names have dollars
    "axes.titlelocation": "left", "axes.titlesize": 11, "axes.titlepad": 9, "axes.titleweight": "bold",
    "axes.spines.left": False, "axes.spines.right": False, "axes.spines.top": False, "axes.edgecolor": MUTED,
    "axes.axisbelow": True, "axes.grid": True, "axes.grid.axis": "y", "grid.color": GRID, "axes.labelcolor": MUTED,
    "xtick.color": MUTED, "xtick.major.pad": 6, "xtick.major.size": 0, "xtick.minor.size": 0,
    "ytick.color": MUTED, "ytick.major.size": 0, "ytick.minor.size": 0,
    "figure.titlesize": 14, "figure.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.13, "figure.constrained_layout.w_pad": 0.13,  # inches
    "legend.frameon": False, "lines.linewidth": 1.7,
}  # fmt: skip
_JPEG_QUALITY = 90
_DRAWING = threading.RLock()  # `rcParams` are those of the process


@contextmanager
def figure(
    out: Path,
    width: int,
    height: int,
    heading: str,
    layout: Literal["constrained"] | None = "constrained",
    background: np.ndarray | None = None,
) -> Iterator[Figure]:
    """Give a figure of `width` x `height` pixels, which is written as PNG or JPEG, by the suffix of `out`, at the end.

    Args:
        heading: at its top left corner.
        background: uint8 (height, width, 3), pixels behind all that is drawn, which matplotlib would resample; white by default.

    Raises:
        JobError: the file cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    with _DRAWING, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        page = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout=layout)
        if background is not None:
            page.patch.set_alpha(0)
        if heading:
            # By default 2 % below the top, which is far down a tall page that no layout arranges.
            top = {} if background is None else {"y": 1 - HEADING_TOP / height}
            page.suptitle(heading, x=0.015, ha="left", **top)
        yield page
        # `savefig` would compute the layout twice.
        page.canvas = FigureCanvasAgg(page)
        page.canvas.draw()
        drawn = np.asarray(page.canvas.buffer_rgba())
        pixels = drawn[..., :3]
        if background is not None:
            pixels = np.where(drawn[..., 3:] == 255, pixels, background)
            soft = (drawn[..., 3] > 0) & (drawn[..., 3] < 255)
            opacity = drawn[soft][:, 3:] / 255
            pixels[soft] = np.rint(opacity * drawn[soft][:, :3] + (1 - opacity) * background[soft])
        image = Image.fromarray(pixels)
    with atomic_write.replace_file(out) as temporary:
        # For PNG: on a grid of images level 4 takes a tenth of the time of level 9, for 4 % more bytes.
        image.save(temporary, quality=_JPEG_QUALITY, subsampling=0, compress_level=4)


def legend(axes: Axes) -> None:
    """Write the names of the lines above the axes at the right, in their colors."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=2, labelcolor="linecolor", borderpad=0)


def log_scale(axis: Axis) -> None:
    """Make an axis logarithmic, with plain numbers at its ticks."""
    from matplotlib.ticker import LogLocator, NullFormatter

    (axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale)("log")
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 1000 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
