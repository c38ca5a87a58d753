"""Windows of a large image: what they cover, the blended logits, and the memory."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from resnets.tasks.segmentation import upsample
from resnets.tasks.segmentation.sliding_window import ALIGNMENT, OVERLAP, WindowSpan, blend_windows, window_spans


@given(st.integers(1, 3000), st.integers(1, 700))
def test_windows_cover_a_side_and_overlap_by_a_third(length: int, window: int) -> None:
    window = max(window, 64)
    found = window_spans(length, window)
    assert found[0].start == 0
    assert found[-1].end == length
    rounded = window // ALIGNMENT * ALIGNMENT
    for one, other in itertools.pairwise(found):
        assert other.start % ALIGNMENT == 0
        assert one.start < other.start <= one.end - min(rounded * OVERLAP - ALIGNMENT, rounded - 2 * ALIGNMENT)
        assert one.end - one.start == rounded
    assert found[-1].end - found[-1].start <= max(rounded, 1)


def network() -> nn.Module:
    """A small network of stride 4 without pooling over the whole map: a pixel of it sees 2 * 3 + 1 pixels around."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 5, 3, 2, 1))
    return nn.Sequential(*layers).eval()


def blended(image: Tensor, window: int, model: nn.Module, *, reverse: bool = False) -> list[Tensor]:
    height, width = image.shape[1:]
    rows, columns = (
        window_spans(height, window),
        window_spans(width, window)[:: -1 if reverse else 1],
    )
    with torch.no_grad():
        return list(blend_windows(model, lambda y, x: image[:, y.start : y.end, x.start : x.end], rows, columns))


@pytest.mark.parametrize("size", [(256, 192), (231, 310)])
def test_inside_of_windows_logits_are_those_of_the_whole_image(size: tuple[int, int]) -> None:
    """Where no window has its edge nearby they are equal to 1e-5; near edges the zeros around a window are seen, and blended."""
    image, model = torch.randn(3, *size, generator=torch.Generator().manual_seed(1)), network()
    with torch.no_grad():
        whole = model(image[None])[0]
    found = torch.cat(blended(image, 96, model), 1)
    assert found.shape == whole.shape
    inside = torch.ones(whole.shape[1:], dtype=torch.bool)
    for axis, length in enumerate(size):
        for start, end in window_spans(length, 96):
            for edge in (start, end):
                if 0 < edge < length:
                    inside.narrow(axis, edge // 4 - 2, 4).fill_(False)
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(found[:, inside], whole[:, inside], rtol=0, atol=1e-5)
    assert not torch.allclose(found, whole, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 4, 8, 16, 32])
@pytest.mark.parametrize("rest", [0, 1, 2, 17, 31])
def test_any_stride_of_a_decoder_is_found(stride: int, rest: int) -> None:
    """A network that says which row and column of the image a pixel is: blended, each is in its place."""

    def position(batch: Tensor) -> Tensor:
        return batch[:, :, ::stride, ::stride]

    for size in ((256 + rest, 192 + rest), (20 + rest, 256 + rest)):
        rows, columns = (torch.arange(side).float() for side in size)
        image = torch.stack([rows[:, None].expand(size), columns.expand(size)])

        def read(y: WindowSpan, x: WindowSpan, image: Tensor = image) -> Tensor:
            return image[:, y.start : y.end, x.start : x.end]

        found = torch.cat(
            list(blend_windows(position, read, *(window_spans(side, 96) for side in size))),
            1,
        )
        torch.testing.assert_close(found, position(image[None])[0], rtol=0, atol=1e-3)


def test_one_window_is_the_whole_image_to_the_bit() -> None:
    image, model = torch.randn(3, 96, 75), network()
    with torch.no_grad():
        whole = model(image[None])[0]
    for window in (96, 128, 1000):
        (found,) = blended(image, window, model)
        assert torch.equal(found, whole)


def test_the_order_of_the_windows_changes_nothing() -> None:
    image, model = torch.randn(3, 200, 330, generator=torch.Generator().manual_seed(2)), network()
    one, other = (torch.cat(blended(image, 96, model, reverse=reverse), 1) for reverse in (False, True))
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    labels = [upsample.label_map(each, (200, 330)) for each in (one, other)]
    assert (labels[0] == labels[1]).all()


def test_rows_are_given_away_as_soon_as_no_window_touches_them() -> None:
    """No part is higher than a window, so that the memory does not grow with the height of the image."""
    model, image = network(), torch.randn(3, 640, 128)
    parts = blended(image, 96, model)
    assert sum(part.shape[1] for part in parts) == 160
    assert len(parts) > 8
    assert max(part.shape[1] for part in parts) <= 96 // 4


def test_weights_fall_towards_the_edges_and_are_never_0() -> None:
    """A network that says where in its window a pixel is: in the middle of an overlap both have the same part."""

    def position(batch: Tensor) -> Tensor:
        return torch.arange(batch.shape[-1]).float().expand(len(batch), 1, *batch.shape[-2:])

    rows, columns = [WindowSpan(0, 64)], [WindowSpan(0, 96), WindowSpan(64, 160)]
    (found,) = blend_windows(position, lambda y, x: torch.zeros(3, y.end - y.start, x.end - x.start), rows, columns)
    values = found[0, 0]
    assert values[:64].tolist() == pytest.approx(list(range(64)))
    assert values[96:].tolist() == pytest.approx(list(range(32, 96)))
    assert float(values[79:81].mean()) == pytest.approx((79.5 + 15.5) / 2)
    assert torch.isfinite(values).all()
