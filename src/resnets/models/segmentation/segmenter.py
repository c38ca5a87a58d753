"""Segmenter: a backbone, a decoder and a head that gives each pixel the logits of its classes."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from resnets.models.backbone import Backbone
from resnets.models.levels import Levels
from resnets.models.segmentation.layers import PooledNorm, resize
from resnets.models.segmentation.settings import SegmenterSettings
from resnets.progress import log


class SegmenterOutput(NamedTuple):
    """What a segmenter with an auxiliary head returns in train mode: both (N, num_classes, H, W)."""

    logits: Tensor
    aux_logits: Tensor


class Segmenter(nn.Module):
    """Images (N, in_channels, H, W) of any size -> logits (N, num_classes, H, W).

    `build_segmenter` makes it of its settings.

    Args:
        backbone: the residual network.
        levels: which of its maps the decoder takes.
        decoder: a module of `decoders`.
        head: from the decoder's map to logits.
        aux_head: from the map `aux_map` of the backbone to logits, for training; or None.
        aux_map: its name.
        settings: the segmenter was built of.

    Attributes:
        num_classes: number of outputs of each pixel.
        stride: of the result of `dense`.
        min_size: the least height and width of an image.
    """

    def __init__(
        self, backbone: Backbone, levels: Levels, decoder: nn.Module, head: nn.Conv2d, aux_head: nn.Module | None,
        aux_map: str | None, settings: SegmenterSettings,
    ) -> None:  # fmt: skip
        super().__init__()
        self.backbone = backbone
        self.levels = levels
        self.decoder = decoder
        self.head = head
        self.aux_head = aux_head
        self.aux_map = aux_map
        self.settings = settings
        self.num_classes = head.out_channels
        self.stride: int = decoder.stride  # type: ignore[assignment]
        self.min_size = backbone.min_size
        self._told = False  # of norms that a batch of one image does not train
        unused = list(backbone.stages)[settings.num_stages :] if settings.num_stages else []
        self._until = unused[0] if unused else None
        for name in unused:
            backbone.get_submodule(name).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor | SegmenterOutput:
        """Logits of each pixel; in train mode with an auxiliary head those of both heads.

        Raises:
            ValueError: the images are smaller than `min_size`.
        """
        size = (x.shape[-2], x.shape[-1])
        if self.training and len(x) == 1:
            self._tell_of_pooled_norms()
        if self.training and self.aux_head is not None:
            return SegmenterOutput(*(self._resize(each, size) for each in self.dense_of_both_heads(x)))
        return self._resize(self.dense(x), size)

    def dense(self, x: Tensor) -> Tensor:
        """The logits before they are upsampled to the image, (N, num_classes, h, w) at `stride`; raises as `forward` does."""
        features = self.backbone.features(x, until=self._until)
        return self._logits(features, (x.shape[-2], x.shape[-1]))

    def dense_of_both_heads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The result of `dense`, and the logits of the auxiliary head, which the segmenter has to have, at its own stride."""
        assert self.aux_head is not None
        assert self.aux_map is not None
        features = self.backbone.features(x, until=self._until)
        return self._logits(features, (x.shape[-2], x.shape[-1])), self.aux_head(features[self.aux_map])

    @property
    def pooled_norms(self) -> list[str]:
        """The paths of the BN layers that normalize one value of each image and channel.

        A batch of one image has no statistics for them: in train mode they then use those of the batches before.
        """
        return [name for name, module in self.named_modules() if isinstance(module, PooledNorm)]

    def _tell_of_pooled_norms(self) -> None:
        trained = [name for name in self.pooled_norms if self.get_submodule(name).training]
        if trained and not self._told:
            log(
                "a batch of one image has no statistics of averages over whole images: those of the batches before are used and "
                f"stay as they are in {', '.join(trained)}; two images or more in a batch train them"
            )
        self._told = True

    def _logits(self, features: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        return self.head(self.decoder(self.levels(features), size))

    def _resize(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return resize(x, size, align_corners=self.settings.align_corners)
