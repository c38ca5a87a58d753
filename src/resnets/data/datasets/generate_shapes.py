"""The built-in dataset `shapes`: generated images of plain shapes, with boxes and masks, in any size and number."""

import colorsys
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from resnets.errors import UserError
from resnets.progress import progress_bar

CLASSES = ("circle", "cross", "hexagon", "square", "star", "triangle")
SPLIT_CYCLE = ("train", "train", "train", "val", "test")  # of five consecutive images of a class
SUPERSAMPLING = 4  # shapes are drawn at this multiple of the size and reduced, for smooth edges
ATTEMPTS = 50  # to find a free position for one more shape before it is left out

Color = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Settings:
    size: int = 64  # side in pixels
    count: int = 600  # images in all
    seed: int = 0
    objects: int = 1  # shapes in an image, at most


@dataclass(frozen=True)
class ShapesImage:
    """One generated image.

    pixels: (size, size, 3) uint8. mask: (size, size) uint8, 0 for the background and i for the i-th object. labels: one
    name for each object. boxes: [x, y, width, height] of each object's visible pixels, from the upper left corner.
    """

    pixels: np.ndarray
    mask: np.ndarray
    labels: tuple[str, ...]
    boxes: tuple[tuple[int, int, int, int], ...]


def make_settings(**values: int | None) -> Settings:
    """Settings from the values that are not None.

    Raises:
        UserError: a value out of range.
    """
    settings = Settings(**{name: value for name, value in values.items() if value is not None})
    for name, low, high in (("size", 16, 4096), ("count", len(CLASSES) * len(SPLIT_CYCLE), 10**7), ("objects", 1, 100)):
        value = getattr(settings, name)
        if not low <= value <= high:
            raise UserError(f"`{name}` is {value}; shapes can be written with {low} to {high:,}.")
    return settings


def write(folder: Path, settings: Settings) -> None:
    """Write `folder/{train,val,test}/CLASS/NNNNNN.png`, and the annotations of every object.

    The class of an image is that of its largest shape, object 1. `labels.jsonl` has a row for each image (path,
    label, split, width, height, mask, objects with label and box), and can itself be read as a manifest. The masks are
    under `annotations/masks/`; a pixel holds the number of its object. An image depends on its number, the seed, the
    size and the number of objects, but not on how many images there are.
    """
    rows = []
    for index in progress_bar(range(settings.count), description="writing", unit="images"):
        label = CLASSES[index % len(CLASSES)]
        split = SPLIT_CYCLE[index // len(CLASSES) % len(SPLIT_CYCLE)]
        name = f"{split}/{label}/{index:06}.png"
        image = draw(index, settings)
        for path, pixels in ((folder / name, image.pixels), (folder / "annotations" / "masks" / name, image.mask)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        objects = [{"label": each, "box": box} for each, box in zip(image.labels, image.boxes, strict=True)]
        row = {"path": name, "label": label, "split": split, "width": settings.size, "height": settings.size}
        rows.append({**row, "mask": f"annotations/masks/{name}", "objects": objects})
    (folder / "labels.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def annotation_paths(folder: Path) -> tuple[str, ...]:
    """The annotations that `write` wrote into `folder`; empty if `write` did not write it."""
    labels_file = folder / "labels.jsonl"
    try:
        with labels_file.open(encoding="utf-8") as file:
            is_generated = '"mask": "annotations/masks/' in file.readline(2000)
    except (OSError, ValueError):
        return ()
    return (str(labels_file), str(folder / "annotations")) if is_generated else ()


def draw(index: int, settings: Settings) -> ShapesImage:
    """Image number `index`."""
    # Python promises that this generator gives the same numbers in every version; numpy does not.
    generator = random.Random(f"shapes {settings.seed} {settings.size} {settings.objects} {index}")
    side = settings.size * SUPERSAMPLING
    back, front = _colors(generator)
    pixels = _background(generator, settings.size, back)
    mask = np.zeros((settings.size, settings.size), dtype=np.uint8)
    labels: list[str] = []
    for number in range(generator.randint(1, settings.objects)):
        label = generator.choice(CLASSES) if number else CLASSES[index % len(CLASSES)]
        radius = side * (generator.uniform(0.07, 0.12) if number else generator.uniform(0.2, 0.4))
        cover = _draw_at_free_position(generator, label, radius, side, mask)
        if cover is None:
            continue
        labels.append(label)
        mask[cover >= 128] = len(labels)
        alpha = cover[..., None] / np.float32(255)
        pixels = pixels * (1 - alpha) + np.asarray(front, dtype=np.float32) * alpha
        _, lightness, saturation = colorsys.rgb_to_hls(*(value / 255 for value in front))
        front = _rgb(generator.random(), lightness, saturation)
    noise = np.frombuffer(generator.randbytes(pixels.size), dtype=np.uint8).reshape(pixels.shape)
    pixels = pixels + (noise.astype(np.float32) - 127.5) * np.float32(16 / 255)
    return ShapesImage(
        pixels=np.clip(np.rint(pixels), 0, 255).astype(np.uint8),
        mask=mask,
        labels=tuple(labels),
        boxes=tuple(box(mask == number) for number in range(1, len(labels) + 1)),
    )


def box(visible: np.ndarray) -> tuple[int, int, int, int]:
    """[x, y, width, height] of the true pixels of a mask (H, W)."""
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1


def _draw_at_free_position(
    generator: random.Random, label: str, radius: float, side: int, occupied: np.ndarray
) -> np.ndarray | None:
    """How much of each pixel the shape covers (0 … 255), at a free position; None if none was found."""
    for _ in range(ATTEMPTS):
        center = (generator.uniform(radius, side - radius), generator.uniform(radius, side - radius))
        canvas = Image.new("L", (side, side))
        outline = _outline(label, center, radius, generator.uniform(0, 2 * math.pi))
        ImageDraw.Draw(canvas).polygon(outline, fill=255)
        cover = np.asarray(canvas.reduce(SUPERSAMPLING))
        if (cover >= 128).any() and not occupied[cover > 0].any():
            return cover
    return None


def _outline(label: str, center: Point, radius: float, turn: float) -> list[Point]:
    """The corners of a shape within a circle."""
    if label == "star":
        distances = [radius, radius * 0.42] * 5
        angles = [math.pi * corner / 5 for corner in range(10)]
    elif label == "cross":
        thin = math.atan2(0.3, 1)  # half the angle that the end of an arm takes
        arms = [math.pi / 2 * arm for arm in range(4)]
        angles = [arm + step for arm in arms for step in (-thin, thin, math.pi / 4)]
        inner = radius * math.sin(thin) * math.sqrt(2)
        distances = [radius, radius, inner] * 4
    else:
        corners = {"circle": 72, "hexagon": 6, "square": 4, "triangle": 3}[label]
        distances = [radius] * corners
        angles = [2 * math.pi * corner / corners for corner in range(corners)]
    return [
        (center[0] + distance * math.cos(turn + angle), center[1] + distance * math.sin(turn + angle))
        for distance, angle in zip(distances, angles, strict=True)
    ]


def _colors(generator: random.Random) -> tuple[Color, Color]:
    """A background and a foreground that differ in hue and in lightness."""
    hue = generator.random()
    dark = generator.random() < 0.5
    back = _rgb(hue, generator.uniform(0.1, 0.3) if dark else generator.uniform(0.7, 0.9), generator.uniform(0.1, 0.5))
    other = hue + generator.uniform(0.25, 0.75)
    lightness = generator.uniform(0.5, 0.75) if dark else generator.uniform(0.25, 0.5)
    return back, _rgb(other, lightness, generator.uniform(0.5, 1))


def _rgb(hue: float, lightness: float, saturation: float) -> Color:
    red, green, blue = colorsys.hls_to_rgb(hue % 1, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def _background(generator: random.Random, size: int, color: Color) -> np.ndarray:
    """(size, size, 3) float32: the color, lighter to one side."""
    turn = generator.uniform(0, 2 * math.pi)
    line = np.linspace(-1, 1, size, dtype=np.float32)
    ramp = line[None, :] * math.cos(turn) + line[:, None] * math.sin(turn)
    return np.asarray(color, dtype=np.float32) + (generator.uniform(5, 25) * ramp)[..., None].astype(np.float32)
