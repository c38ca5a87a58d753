from __future__ import annotations

TEXT_SAYS = 25_636_712  # parameters with 1000 classes


def test_it_prints_the_table_and_trains(few_images, example):
    printed = example("tutorial_resnet50.py", few_images, "--side", "48", "--epochs", "1", "--batch", "5")
    assert f"Total params: {TEXT_SAYS - 2049 * (1000 - 3):,}" in printed
    assert "Non-trainable params: 53,120" in printed
    assert "val_loss" in printed
