"""The 1,000 classes of ImageNet (ILSVRC 2012-2017) in the order of the outputs of every network of the catalog.

That is the order of their WordNet ids. `imagenet_classes.tsv` has them as timm's `imagenet_synsets.txt` does, each with its
name in torchvision's `_IMAGENET_CATEGORIES`.
"""

from importlib import resources

_TABLE = resources.files(__package__).joinpath("imagenet_classes.tsv").read_text("utf-8")
_ROWS = tuple(line.split("\t") for line in _TABLE.splitlines())
NAMES: tuple[str, ...] = tuple(name for _, name in _ROWS)
SYNSETS: tuple[str, ...] = tuple(synset for synset, _ in _ROWS)  # WordNet ids, such as "n01440764"
