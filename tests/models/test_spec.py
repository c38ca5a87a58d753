"""The specification: a value that JSON can carry, that refuses nonsense, and that a network is built from."""

from __future__ import annotations

import dataclasses
import json

import pytest

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.models.spec import ResNetSpec


@pytest.mark.parametrize("name", zoo.list_models())
def test_a_specification_survives_json(name):
    spec = zoo.find(name).spec
    again = ResNetSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert hash(again) == hash(spec)


def test_an_unknown_setting_is_named_with_the_nearest_known_one():
    values = zoo.get_spec("tiny").to_dict()
    with pytest.raises(UserError, match=r"'out_chanels'.*'out_channels'"):
        ResNetSpec.from_dict({**values, "out_chanels": [1]})
    del values["name"]
    with pytest.raises(UserError, match="name"):
        ResNetSpec.from_dict(values)


WRONG = [
    ("tiny", {"num_classes": 0}, "num_classes is at least 1; received 0"),
    ("tiny", {"num_classes": 2.5}, "num_classes is of type int; received 2.5"),
    ("tiny", {"num_classes": True}, "num_classes is of type int; received True"),
    ("tiny", {"in_channels": -1}, "in_channels is at least 1; received -1"),
    ("tiny", {"head_hidden_dim": -1}, "head_hidden_dim is at least 0; received -1"),
    ("tiny", {"stem": "cfiar"}, "'cfiar'. Did you mean 'cifar'"),
    ("tiny", {"shortcut": "E"}, "shortcut is one of A, B, C, D; received 'E'"),
    ("tiny", {"drop_path_rate": 1.0}, "drop_path_rate is at least 0 and less than 1"),
    ("tiny", {"drop_path_rate": "0.2"}, "drop_path_rate is of type float"),
    ("tiny", {"num_blocks": (1, 1)}, "one value for each stage"),
    ("tiny", {"num_blocks": (), "out_channels": (), "strides": ()}, "one value for each stage"),
    ("tiny", {"num_blocks": (1, 0, 1)}, r"num_blocks is of type tuple; received \(1, 0, 1\)"),
    ("tiny", {"dropout": 0.3}, "dropout=0.3 is that of wide residual networks"),
    ("tiny", {"groups": 32}, "groups=32 needs branch='bottleneck'"),
    ("tiny", {"branch": "bottleneck"}, "mid_channels must have one value for each stage"),
    ("tiny", {"stem_preact": True}, "stem_preact=True needs preactivation=True"),
    ("tiny", {"pool_window": 2}, "pool='window' and pool_window need each other"),
    ("resnet18", {"pool": "window"}, "pool='window' and pool_window need each other"),
    ("plain18", {"drop_path_rate": 0.5}, "needs shortcuts"),
    ("plain18", {"zero_init_residual": True}, "zero_init_residual=True needs"),
    ("plain18", {"preactivation": True}, "preactivation=True needs block='residual'"),
    ("plain18", {"shortcut_dropout": 0.5}, "needs a block with a shortcut that is not gated, not 'plain'"),
    ("tiny", {"shortcut_scale": 0.5}, "shortcut_scale and branch_scale need block='scaled'"),
    ("tiny", {"block": "gatd"}, "Did you mean 'gated'"),
    ("tiny", {"block": "act_only", "preactivation": True}, "preactivation=True needs block='residual'"),
    ("tiny", {"drop_path_by": "batch"}, "drop_path_by='batch' needs drop_path_rate above 0"),
    ("tiny", {"norm": "none", "zero_init_residual": True}, "zero_init_residual=True needs"),
    ("tiny", {"initialization": "looks_linear"}, "needs block='plain'"),
    ("cifar_highway20", {"block": "gated"}, "block='gated' needs a branch of several layers"),
    ("cifar_highway20", {"attention": "se"}, "attention='se' needs a branch of several layers"),
    ("cifar_highway20", {"block": "residual", "preactivation": True}, "branch='single' is activated after"),
]


@pytest.mark.parametrize(("name", "changes", "message"), WRONG)
def test_an_invalid_setting_is_refused_in_one_line(name, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        zoo.get_spec(name, **changes)
    assert "\n" not in str(caught.value)


def test_whole_numbers_serve_for_rates_and_lists_for_tuples():
    spec = zoo.get_spec("tiny", drop_path_rate=0, num_blocks=[1, 1, 1])
    assert spec.num_blocks == (1, 1, 1)
    build(spec)


def test_every_field_is_documented():
    documented = ResNetSpec.__doc__ or ""
    for field in dataclasses.fields(ResNetSpec):
        assert field.name in documented, field.name
