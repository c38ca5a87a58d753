"""The losses against torch, segmentation_models_pytorch and formulas; and what ignored pixels and absent classes do."""

import math

import pytest
import torch
from segmentation_models_pytorch.losses import LovaszLoss
from torch import Tensor
from torch.nn import functional

from resnets.errors import UserError
from resnets.tasks.segmentation.training.losses import LOSSES, losses, parse

IGNORE = 255


def example(seed: int = 0, classes: int = 5) -> tuple[Tensor, Tensor]:
    """Logits (3, K, 7, 9) in float64, and masks; the second image lacks class 2, and each has some ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, classes, 7, 9, generator=generator, dtype=torch.float64)
    masks = torch.randint(classes, (3, 7, 9), generator=generator, dtype=torch.uint8)
    masks[1][masks[1] == 2] = 3
    masks[torch.rand(3, 7, 9, generator=generator) < 0.2] = IGNORE
    return logits, masks


def labeled_pixels(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Those of one image: (M, K) and (M,)."""
    chosen = mask != IGNORE
    return logits[:, chosen].T, mask[chosen].long()


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2, 0.5, 3, 0.1], dtype=torch.float64)])
def test_cross_entropy_is_that_of_torch(weights: Tensor | None) -> None:
    logits, masks = example()
    found = losses(logits, masks, ["ce"], weights)["ce"]
    summed = [
        functional.cross_entropy(each[None], mask[None].long(), weights, ignore_index=IGNORE, reduction="sum")
        for each, mask in zip(logits, masks, strict=True)
    ]
    counts = (masks != IGNORE).flatten(1).sum(1)
    torch.testing.assert_close(found, torch.stack(summed) / counts, rtol=1e-12, atol=0)


def test_lovasz_is_that_of_segmentation_models_pytorch() -> None:
    logits, masks = example()
    logits = logits.float()  # which the other one needs
    reference = LovaszLoss("multiclass", per_image=True, ignore_index=IGNORE, from_logits=True)
    expected = [reference(each[None], mask[None].long()) for each, mask in zip(logits, masks, strict=True)]
    torch.testing.assert_close(losses(logits, masks, ["lovasz"])["lovasz"], torch.stack(expected), rtol=1e-5, atol=0)


def test_focal_dice_and_ohem_are_their_formulas() -> None:
    logits, masks = example()
    found = losses(logits, masks, ["focal", "dice", "ohem"])
    for index in range(3):
        values, labels = labeled_pixels(logits[index], masks[index])
        probabilities = values.softmax(1)
        true = [float(row[label]) for row, label in zip(probabilities, labels, strict=True)]
        focal = sum(-math.log(p) * (1 - p) ** 2 for p in true) / len(true)
        hard = [-math.log(p) for p in true if p < 0.7]
        dice = []
        for label in labels.unique().tolist():
            shared = sum(p for p, own in zip(true, labels.tolist(), strict=True) if own == label)
            dice.append(1 - 2 * shared / float(probabilities[:, label].sum() + (labels == label).sum()))
        assert len(hard) > len(true) / 16
        for name, expected in (("focal", focal), ("dice", sum(dice) / len(dice)), ("ohem", sum(hard) / len(hard))):
            assert float(found[name][index]) == pytest.approx(expected, rel=1e-12), name


def test_where_few_pixels_are_hard_the_hardest_sixteenth_is_kept() -> None:
    """The hardest, not the easiest."""
    masks = torch.zeros(1, 8, 8, dtype=torch.uint8)
    probabilities = torch.linspace(0.75, 0.99, 64, dtype=torch.float64).reshape(1, 1, 8, 8)
    found = losses(torch.cat([probabilities, 1 - probabilities], 1).log(), masks, ["ohem"])["ohem"]
    assert float(found) == pytest.approx(-float(probabilities.flatten()[:4].log().mean()), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_what_lies_below_ignored_pixels_changes_nothing(name: str) -> None:
    """Loss and gradient are equal to the bit."""
    logits, masks = example(1)
    ignored = masks == IGNORE
    other = torch.where(ignored[:, None], 50 * torch.randn_like(logits), logits)
    results = []
    for values in (logits.requires_grad_(), other.requires_grad_()):
        loss = losses(values, masks, [name])[name]
        results.append((loss, torch.autograd.grad(loss.sum(), values)[0]))
    (loss, gradient), (other_loss, other_gradient) = results
    assert torch.equal(loss, other_loss)
    assert torch.equal(gradient.movedim(1, -1)[~ignored], other_gradient.movedim(1, -1)[~ignored])
    assert not gradient.movedim(1, -1)[ignored].any()
    assert not other_gradient.movedim(1, -1)[ignored].any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_class_that_is_absent_changes_nothing(name: str) -> None:
    """An output that is never true and has no probability neither changes the loss nor shrinks the gradient of the others."""
    logits, masks = example(2)
    more = torch.cat([logits, torch.full_like(logits[:, :7], -1e4)], 1)
    logits.requires_grad_(), more.requires_grad_()
    one, other = (losses(values, masks, [name])[name] for values in (logits, more))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(loss.sum(), values)[0] for loss, values in ((one, logits), (other, more))]
    torch.testing.assert_close(gradients[0], gradients[1][:, :5], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_an_image_is_not_changed_by_others_and_may_have_no_label(name: str) -> None:
    logits, masks = example(3)
    masks[1] = IGNORE
    logits.requires_grad_()
    found = losses(logits, masks, [name])[name]
    assert found[1].item() == 0
    assert not torch.autograd.grad(found.sum(), logits, retain_graph=True)[0][1].any()
    alone = losses(logits[2:], masks[2:], [name])[name]
    torch.testing.assert_close(found[2:], alone, rtol=1e-12, atol=0)
    only = losses(logits[1:2], masks[1:2], [name])[name].sum()
    assert not torch.autograd.grad(only, logits)[0].any()  # a batch without a label has a gradient of 0


@pytest.mark.parametrize("name", ["ce", "focal", "dice", "lovasz"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    logits, masks = example(4, classes=3)
    assert torch.autograd.gradcheck(
        lambda values: losses(values, masks[:1], [name])[name], (logits[:1].requires_grad_(),)
    )


def test_half_precision_is_computed_in_float32() -> None:
    logits, masks = example(5)
    found = losses(logits.bfloat16(), masks, ["ce"])["ce"]
    assert found.dtype == torch.float32
    expected = losses(logits.bfloat16().double(), masks, ["ce"])["ce"]
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


def test_sums_of_losses_are_named() -> None:
    assert parse("ce+dice") == ["ce", "dice"]
    with pytest.raises(UserError, match=r"is one of ce, ohem, .*received 'ce\+dise'. Did you mean 'dice'"):
        parse("ce+dise")
    with pytest.raises(UserError, match="has a term twice"):
        parse("ce+ce")
