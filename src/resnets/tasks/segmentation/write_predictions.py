"""Write predicted masks: palette PNG, overlays, the values of the data, probabilities, and a table of areas."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from resnets import atomic_write
from resnets.data.image.decode import MAX_PIXELS, decode
from resnets.data.image.label_map_file import SOFTWARE, open_label_map
from resnets.data.image.open_image_file import DecodeError
from resnets.data.mask_datasets.overlay import overlay
from resnets.errors import JobError, UserError
from resnets.message_format import format_list, pluralize
from resnets.report.figures.class_color import Color, class_color
from resnets.tasks.outputs.choose_files import choose_files, save_jpeg
from resnets.tasks.segmentation.config import SegmentationConfig
from resnets.tasks.segmentation.prediction import Prediction

Sink = Callable[[Prediction], None]
TABLE_KEYS = ("class", "value", "red", "green", "blue")  # the columns of `classes.csv`


def colors_of(config: SegmentationConfig, num_classes: int) -> list[Color]:
    """The colors of the data, or else our own, which stay apart for color-blind readers only where there are few."""
    given = config.output_colors
    if len(given) == 3 * num_classes:
        return [(given[3 * k], given[3 * k + 1], given[3 * k + 2]) for k in range(num_classes)]
    return [class_color(k) for k in range(num_classes)]


def values_of(config: SegmentationConfig, num_classes: int) -> np.ndarray:
    """int64 (K,): the number of each class in the masks of the data; where these have colors, the index of the class."""
    return np.array(config.output_values or range(num_classes), np.int64)


@contextlib.contextmanager
def palette_masks(folder: str, config: SegmentationConfig, class_names: Sequence[str]) -> Iterator[Sink]:
    """A PNG file of each image with the value that each class has in the data, shown in its color; `classes.csv` lists them.

    Where values exceed 255, the indices of the classes are written. Of an image with more than 89 million pixels it is a tiled
    TIFF.
    """
    _check_predictions_only("masks", folder)
    name_of = choose_files(Path(folder), taken={"classes.csv"})
    values, colors = values_of(config, len(class_names)), colors_of(config, len(class_names))
    if values.max() > 255:
        values = np.arange(len(class_names))
    palette = np.zeros((256, 3), np.uint8)
    palette[values] = colors
    table = values.astype(np.uint8)
    rows = zip(class_names, values.tolist(), colors, strict=True)
    atomic_write.write_csv(
        Path(folder) / "classes.csv",
        [dict(zip(TABLE_KEYS, (name, value, *color), strict=True)) for name, value, color in rows],
    )

    def write(prediction: Prediction) -> None:
        assert prediction.mask is not None
        if prediction.mask.size > MAX_PIXELS:
            shown = [(int(red), int(green), int(blue)) for red, green, blue in palette]
            _write_rows(name_of(prediction.path, ".tif"), prediction.mask, table, shown)
            return
        image = Image.fromarray(table[prediction.mask])
        image.putpalette(palette.tobytes())
        _save_png(image, name_of(prediction.path, ".png"))

    yield write


def _save_png(image: Image.Image, path: Path) -> None:
    texts = PngInfo()
    texts.add_text("Software", SOFTWARE)
    with atomic_write.replace_file(path) as temporary:
        image.save(temporary, "PNG", pnginfo=texts)


def _check_predictions_only(argument: str, folder: str) -> None:
    """Raise UserError for a folder with files that are no predictions, since the masks of the data have the same names."""
    candidates = (
        path for path in Path(folder).glob("*") if path.suffix in (".png", ".tif") or path.name == "classes.csv"
    )
    if other := min((path for path in candidates if not _is_prediction(path)), default=None):
        raise UserError(
            f"`{argument}={folder}` has files that are not predictions, such as '{other.name}', and masks of your data would be "
            "overwritten. Choose another folder."
        )


def _is_prediction(path: Path) -> bool:
    """Whether resnets wrote this PNG or TIFF file, or this table of classes."""
    try:
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", errors="replace") as file:
                return file.readline().rstrip() == ",".join(TABLE_KEYS)
        with Image.open(path) as image:
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                return image.tag_v2.get(TiffImagePlugin.SOFTWARE) == SOFTWARE
            return image.info.get("Software") == SOFTWARE
    except (OSError, Image.DecompressionBombError):
        return False


def _write_rows(path: Path, mask: np.ndarray, table: np.ndarray, colors: Sequence[Color]) -> None:
    """Write the values of a large mask a few rows at a time."""
    assert mask.ndim == 2
    with open_label_map(path, (mask.shape[0], mask.shape[1]), colors) as file:
        for rows in np.array_split(mask, max(mask.size // 2**22, 1)):
            file.write(table[rows])


@contextlib.contextmanager
def label_ids(folder: str, config: SegmentationConfig, class_names: Sequence[str]) -> Iterator[Sink]:
    """A gray PNG file of each image with the value that each class has in the data, as the Cityscapes server takes it."""
    if not config.output_values:
        raise UserError("`label_ids` needs masks with numbers; those that the model was trained on have colors.")
    _check_predictions_only("label_ids", folder)
    name_of = choose_files(Path(folder))
    values = values_of(config, len(class_names))
    table = values.astype(np.uint8 if values.max() < 256 else np.uint16)

    def write(prediction: Prediction) -> None:
        assert prediction.mask is not None
        _save_png(Image.fromarray(table[prediction.mask]), name_of(prediction.path, ".png"))

    yield write


@contextlib.contextmanager
def overlays(folder: str, config: SegmentationConfig, class_names: Sequence[str]) -> Iterator[Sink]:
    """A JPEG file of each image with the colors of its classes."""
    name_of, colors = choose_files(Path(folder)), colors_of(config, len(class_names))

    left_out: list[str] = []

    def write(prediction: Prediction) -> None:
        assert prediction.mask is not None
        try:
            pixels = decode(prediction.path)
        except DecodeError:  # an `.npy`, or a TIFF that is read by windows
            left_out.append(prediction.path)
            return
        save_jpeg(overlay(pixels, prediction.mask, colors), name_of(prediction.path, ".jpg"))

    yield write
    _raise_for(left_out, "which `draw` cannot show: an `.npy`, or too large")


@contextlib.contextmanager
def probability_files(folder: str, config: SegmentationConfig, class_names: Sequence[str]) -> Iterator[Sink]:
    """An npz file of each image: "probabilities", float16 (K, height, width), and "classes", their names."""
    name_of = choose_files(Path(folder))

    left_out: list[str] = []

    def write(prediction: Prediction) -> None:
        found = prediction.probabilities()
        if found is None:
            left_out.append(prediction.path)
            return
        with atomic_write.replace_file(name_of(prediction.path, ".npz")) as temporary:
            np.savez_compressed(temporary, probabilities=found, classes=np.array(class_names))

    yield write
    _raise_for(left_out, "without probabilities, since it was computed in windows")


def _raise_for(left_out: Sequence[str], reason: str) -> None:
    """Raise JobError for images that a kind of file cannot be written of, after all others were written."""
    if left_out:
        raise JobError(f"{pluralize(len(left_out), 'image')} left out, {reason}: {format_list(left_out, 5)}.")


@contextlib.contextmanager
def area_table(path: str, config: SegmentationConfig, class_names: Sequence[str]) -> Iterator[Sink]:
    """A CSV file with a row for each class of each image: its pixels, and the part of the image that they are."""
    atomic_write.check_file_writable(path)
    rows: list[dict[str, object]] = []

    def write(prediction: Prediction) -> None:
        areas = prediction.areas
        for name, count in prediction.pixels.items():
            area = f"{areas.get(name, 0.0):.6f}"
            rows.append({"path": prediction.path, "class": name, "pixels": count, "area": area})

    yield write
    atomic_write.write_csv(path, rows)


def writers(
    config: SegmentationConfig, class_names: Sequence[str]
) -> Mapping[str, Callable[[str], AbstractContextManager[Sink]]]:
    """See `Task.writers`."""
    kinds = {
        "draw": overlays,
        "masks": palette_masks,
        "label_ids": label_ids,
        "probabilities": probability_files,
        "areas": area_table,
    }
    return {name: partial(kind, config=config, class_names=class_names) for name, kind in kinds.items()}
