"""Draw a network on one page: its stem, a column for each stage with the blocks and their shortcuts, and its head."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve
from matplotlib.textpath import TextPath
from torch import nn

from resnets import atomic_write
from resnets.errors import UserError
from resnets.models.summary import layer_table
from resnets.models.summary.diagram_layout import Block, Box, DiagramLayout, Shortcut, Stage, diagram_layout

SUFFIXES = (".svg", ".png")
PNG_DPI = 160

# All lengths are inches, and y grows downwards.
MARGIN = 0.3
TOP = 1.0  # of the columns' headings
FIRST = 1.6  # of the first boxes
CHAIN = 1.24  # width of the boxes of a branch
AROUND = 1.2  # width of the boxes of a shortcut
ARC = 0.82  # from the middle of a branch to a shortcut without boxes
BOXED_ARC = 1.32  # and to one with boxes
GUTTER = 0.3  # between the columns
LARGE, SMALL, NOTE = 0.27, 0.185, 0.13  # heights of boxes and of their second lines
GAP = 0.075  # between boxes
FORK = 0.17  # above and below a branch, where its shortcut starts and ends
INSET = 0.14  # from a block's frame to its boxes
SHEET = 0.04  # offset between the frames of a repeated block
JOIN = 0.085  # radius
BADGE = 0.22
CORNER = 0.1  # radius

INK, QUIET, LINE, STRIDE = "#1f2933", "#52606d", "#3e4c59", "#c2410c"
Tint = tuple[str, str]  # fill of frames, fill of boxes
STAGES: tuple[Tint, ...] = (
    ("#eef5ff", "#c3dbfb"), ("#ebf8f0", "#b9e3c9"), ("#fff6e3", "#fadc9f"), ("#fdf0f7", "#f3c8df"),
)  # fmt: skip
NEUTRAL: Tint = ("#f5f7f9", "#d9e0e6")

FAMILY = "DejaVu Sans"  # included in matplotlib

OPTIONS = {
    "identity": "identity shortcut",
    "A": "zero-padded shortcut (option A)",
    "B": "projection where the shape changes (option B)",
    "C": "projection in every block (option C)",
    "D": "pooled projection (option D)",
    "pool": "identity at a stride, by 1×1 pooling",
    "dropped": "identity shortcut with dropout",
    "highway": "gate: T · branch + (1 − T) · input",
    "gated": "gate: T · branch + (1 − T) · shortcut",
    "gated_shortcut": "gate: branch + (1 − T) · shortcut",
    "scaled": "constant factors of branch and shortcut",
}


def draw(net: nn.Module, out: str | Path, imgsz: int | tuple[int, int], *, title: str = "") -> None:
    """Draw `net` for images of `imgsz` (a side, or height and width) to `out`, an SVG or PNG file.

    Equal consecutive blocks are drawn once, with their number.

    Raises:
        UserError: `out` ends in neither .svg nor .png, or cannot be written.
        JobError: writing failed.
        ValueError: the network takes only larger images.
    """
    check_writable(out)
    suffix = Path(out).suffix.lower()
    page = figure(net, imgsz, title=title)
    # Text is text in the SVG, so that it can be searched; without a date and with a fixed salt, equal diagrams are equal files.
    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "resnets"}),
        atomic_write.replace_file(out) as temporary,
    ):
        metadata = {"Date": None} if suffix == ".svg" else None
        page.savefig(temporary, format=suffix[1:], dpi=PNG_DPI, metadata=metadata)


def check_writable(out: str | Path) -> None:
    """Raise UserError for a file that `draw` could not write, before the work."""
    if Path(out).suffix.lower() not in SUFFIXES:
        raise UserError(f"Cannot draw to '{out}': the name must end in {' or '.join(SUFFIXES)}.")
    atomic_write.check_file_writable(out)


def figure(net: nn.Module, imgsz: int | tuple[int, int], *, title: str = "") -> Figure:
    """The diagram as a matplotlib figure at its natural size; no letter is smaller than 6 points."""
    layout = diagram_layout(net, imgsz)
    page = _Page(_right(layout))
    parameters, operations = layer_table.totals(net).trainable, layer_table.short(layer_table.multiply_adds(net, imgsz))
    about = f"{parameters:,} parameters  ·  {operations} multiply-adds  ·  images of {_size(layout.image)}"
    page.text(MARGIN, MARGIN + 0.05, title or "Network", size=13, weight="bold", side="left")
    page.text(MARGIN, MARGIN + 0.3, about, color=QUIET, side="left")

    middle = MARGIN + CHAIN / 2
    page.heading(middle, "stem", _size(layout.stem_shape))
    y = page.chain(middle, FIRST, (Box("image", _size(layout.image)), *layout.stem), NEUTRAL)
    left, lowest = MARGIN + CHAIN + GUTTER, y
    for number, stage in enumerate(layout.stages):
        following = left + INSET + CHAIN / 2
        page.turn(middle, y, left - GUTTER / 2, following)
        middle, left = following, left + INSET + CHAIN / 2 + page.right + GUTTER
        page.heading(middle, stage.name, f"{_size(stage.shape)}  ·  {_count(stage)}")
        y = page.stage(middle, FIRST, stage, STAGES[number % len(STAGES)])
        lowest = max(lowest, y)
    page.line([(middle, y), (middle, y + 0.4)], arrow=True)
    page.text(middle - CHAIN / 2, y + 0.22, "head", size=10, weight="bold", side="left")
    lowest = max(lowest, page.chain(middle, y + 0.4, layout.head, NEUTRAL))
    page.legend(MARGIN, lowest + 0.5, layout)
    page.finish(left - GUTTER + MARGIN, lowest + 0.5 + MARGIN)
    return page.figure


def _size(shape: Sequence[int]) -> str:
    channels, height, width = shape
    return f"{height} × {width} × {channels}"


def _count(stage: Stage) -> str:
    blocks = sum(times for _, times in stage.runs)
    return f"{blocks} block{'' if blocks == 1 else 's'}"


def _blocks(layout: DiagramLayout) -> list[tuple[Block, int]]:
    return [run for stage in layout.stages for run in stage.runs]


def _right(layout: DiagramLayout) -> float:
    """The distance from the middle of a branch to the right edge of its frame, the same for all blocks."""
    shortcuts = [block.shortcut for block, _ in _blocks(layout) if block.shortcut]
    if any(shortcut.boxes or shortcut.gate for shortcut in shortcuts):
        return BOXED_ARC + AROUND / 2 + INSET / 2
    return ARC + 0.5  # space for the number of blocks


class _Page:
    """A figure with coordinates in inches from the top left corner."""

    def __init__(self, right: float) -> None:
        self.right = right
        self.figure = Figure()
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.axis("off")

    def finish(self, width: float, height: float) -> None:
        self.figure.set_size_inches(width, height)
        self.axes.set(xlim=(0, width), ylim=(height, 0))

    def text(
        self, x: float, y: float, text: str, *, size: float = 8, color: str = INK, side: str = "center",
        weight: str = "normal",
    ) -> None:  # fmt: skip
        font = FontProperties(family=FAMILY, size=size, weight=weight)
        self.axes.text(x, y, text, color=color, ha=side, va="center_baseline", font=font, parse_math=False)

    def line(self, points: Sequence[tuple[float, float]], *, dashed: bool = False, arrow: bool = False) -> None:
        """A line through `points` with rounded corners; its segments are horizontal or vertical."""
        path, codes = [points[0]], [Curve.MOVETO]
        for before, corner, after in zip(points, points[1:], points[2:], strict=False):
            path += [_toward(corner, before), corner, _toward(corner, after)]
            codes += [Curve.LINETO, Curve.CURVE3, Curve.CURVE3]
        curve = Curve([*path, points[-1]], [*codes, Curve.LINETO])
        head = "-|>,head_length=3.5,head_width=1.8" if arrow else "-"  # points
        dashes = (0, (3, 2)) if dashed else "-"
        self.axes.add_patch(
            FancyArrowPatch(
                path=curve,
                arrowstyle=head,
                linestyle=dashes,
                color=LINE,
                linewidth=0.9,
                capstyle="butt",
                zorder=1,
                mutation_scale=1,
                shrinkA=0,
                shrinkB=0,
            )
        )

    def frame(
        self, x: float, y: float, width: float, height: float, fill: str, edge: str, *, above: float = 2.0
    ) -> None:
        style = f"round,pad=0,rounding_size={min(0.05, height / 3)}"
        self.axes.add_patch(
            FancyBboxPatch((x, y), width, height, style, facecolor=fill, edgecolor=edge, linewidth=0.7, zorder=above)
        )

    def heading(self, middle: float, name: str, size: str) -> None:
        self.text(middle - CHAIN / 2, TOP, name, size=10, weight="bold", side="left")
        self.text(middle - CHAIN / 2, TOP + 0.2, size, color=QUIET, side="left")

    def turn(self, x: float, y: float, between: float, following: float) -> None:
        """The line from the end of a column at (x, y) to the first box of the next one."""
        above = FIRST - 0.2
        points = [(x, y), (x, y + 0.2), (between, y + 0.2), (between, above), (following, above), (following, FIRST)]
        self.line(points, arrow=True)

    def stage(self, x: float, y: float, stage: Stage, tint: Tint) -> float:
        """The blocks of a stage below each other; returns the lower end."""
        for number, (block, times) in enumerate(stage.runs):
            if number:
                self.line([(x, y), (x, y + 0.22)], arrow=True)
                y += 0.22
            y = self.block(x, y, block, times, tint)
        return y

    def block(self, x: float, top: float, block: Block, times: int, tint: Tint) -> float:
        """A block in a frame, or in several if it repeats, from (x, top); returns its lower edge."""
        y = top + INSET / 2
        fork = y
        if block.before:
            y = self.chain(x, y + INSET / 2, block.before, tint)
            fork = y + FORK / 2 if block.shortcut and block.shortcut.shared else fork
        y = self.chain(x, y + (FORK if block.before else INSET / 2), block.branch, tint)
        if block.shortcut:
            y = self.shortcut(x, fork, y + FORK + JOIN, block.shortcut, tint)
        if block.after:
            y = self.chain(x, y + GAP, block.after, tint)
        y += INSET
        self.line([(x, top), (x, y)])
        for number in range(2 if times > 1 else 0, -1, -1):
            shift, width = number * SHEET, INSET + CHAIN / 2 + self.right
            self.frame(x - CHAIN / 2 - INSET + shift, top + shift, width, y - top, tint[0], tint[1], above=-number)
        if times > 1:
            self.text(x + self.right - 0.07, top + 0.16, f"× {times}", size=10, weight="bold", side="right")
        return y

    def chain(self, x: float, y: float, boxes: Sequence[Box], tint: Tint) -> float:
        """Boxes below each other from (x, y); returns the lower edge of the last."""
        start = y
        for box in boxes:
            y = self.box(x, y, box, tint, CHAIN) + GAP
        self.line([(x, start), (x, y - GAP)])
        return y - GAP

    def box(self, x: float, y: float, box: Box, tint: Tint, width: float) -> float:
        """A box with the middle of its upper edge at (x, y); returns its lower edge."""
        height = _height(box)
        fill, edge = (tint[1], LINE) if box.large else ("white", tint[1])
        self.frame(x - width / 2, y, width, height, fill, edge)
        middle = x - BADGE / 2 if box.stride > 1 else x
        line = y + (LARGE if box.large else SMALL) / 2
        self.text(middle, line, box.text, size=7.5 if box.large else 6.5, color=INK if box.large else QUIET)
        if box.note:
            self.text(middle, y + height - NOTE / 2 - 0.02, box.note, size=6.5, color=QUIET)
        if box.stride > 1:
            self.badge(x + (width - BADGE) / 2 - 0.03, line, box.stride)
        return y + height

    def shortcut(self, x: float, fork: float, join: float, shortcut: Shortcut, tint: Tint) -> float:
        """The shortcut from (x, fork) to (x, join), with the circle there; returns the lower edge of the circle."""
        boxes = (shortcut.gate, *shortcut.boxes) if shortcut.gate else shortcut.boxes
        arc = x + (BOXED_ARC if boxes else ARC)
        points = [(x, fork), (arc, fork), (arc, join), (x + JOIN, join)]
        self.line(points, dashed=bool(shortcut.boxes), arrow=True)
        y = (fork + join - sum(map(_height, boxes)) - GAP * (len(boxes) - 1)) / 2
        for box in boxes:
            y = self.box(arc, y, box, tint, AROUND) + GAP
        self.circle(x, join, "T" if shortcut.gate else "+")
        return join + JOIN

    def circle(self, x: float, y: float, sign: str) -> None:
        self.axes.add_patch(Circle((x, y), JOIN, facecolor="white", edgecolor=LINE, linewidth=0.9, zorder=2))
        self.text(x, y, sign, weight="bold")

    def badge(self, x: float, y: float, stride: int) -> None:
        self.frame(x - BADGE / 2, y - 0.08, BADGE, 0.16, STRIDE, STRIDE)
        self.text(x, y, f"/{stride}", size=7, color="white", weight="bold")

    def legend(self, x: float, y: float, layout: DiagramLayout) -> None:
        """One line that explains the signs of this diagram."""
        for option in layout.options:
            if option in ("highway", "gated", "gated_shortcut"):
                self.circle(x + 0.27, y, "T")
            else:
                self.line([(x, y), (x + 0.35, y)], dashed=option != "identity", arrow=True)
            x = self.words(x + 0.42, y, OPTIONS[option])
        self.badge(x + 0.24, y, 2)
        self.words(x + 0.42, y, "stride 2: half the height and width")

    def words(self, x: float, y: float, text: str) -> float:
        """A text that starts at (x, y); returns the x of the next one."""
        self.text(x, y, text, size=7.5, color=QUIET, side="left")
        return x + TextPath((0, 0), text, size=7.5, prop=FontProperties(family=FAMILY)).get_extents().width / 72 + 0.3


def _height(box: Box) -> float:
    return (LARGE if box.large else SMALL) + (NOTE if box.note else 0.0)


def _toward(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """The point at which a rounded corner starts or ends in the direction of `other`."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)
    fraction = min(CORNER / length, 0.5) if length else 0.0
    return corner[0] + dx * fraction, corner[1] + dy * fraction
