"""The class names of ImageNet against two libraries that ship them."""

from __future__ import annotations

from pathlib import Path

import timm
from torchvision.models._meta import _IMAGENET_CATEGORIES

from resnets.weights.hub import imagenet_classes


def test_the_names_are_torchvisions_in_its_order() -> None:
    assert list(imagenet_classes.NAMES) == _IMAGENET_CATEGORIES
    assert len(set(imagenet_classes.NAMES)) == 1000


def test_the_ids_are_timms_in_its_order_which_is_theirs() -> None:
    listed = (Path(timm.__file__).parent / "data" / "_info" / "imagenet_synsets.txt").read_text().split()
    assert list(imagenet_classes.SYNSETS) == listed == sorted(listed)


def test_names_and_ids_belong_together() -> None:
    """timm's lemmas of each id are words for the same thing; WordNet and ImageNet spell some otherwise."""
    table = (Path(timm.__file__).parent / "data" / "_info" / "imagenet_synset_to_lemma.txt").read_text()
    lemmas = dict(line.split("\t", 1) for line in table.splitlines())
    found = sum(
        name.lower().replace("-", " ") in lemmas[synset].lower().replace("-", " ")
        for synset, name in zip(imagenet_classes.SYNSETS, imagenet_classes.NAMES, strict=True)
    )
    assert found > 950


def test_known_classes_have_their_usual_index() -> None:
    assert (imagenet_classes.NAMES[207], imagenet_classes.SYNSETS[207]) == ("golden retriever", "n02099601")
