"""Dilation in place of strides: the same function of a network, computed at more positions."""

from collections.abc import Collection

from resnets.models.resnet import Backbone


def dilate(backbone: Backbone, stages: Collection[str]) -> Backbone:
    raise NotImplementedError
