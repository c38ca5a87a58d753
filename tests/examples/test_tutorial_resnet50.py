from __future__ import annotations

TEXT_SAYS = 25_636_712  # parameters with 1000 classes


def test_it_prints_the_table_and_trains(images, example):
    done = example("tutorial_resnet50.py", images, "--side", "48", "--epochs", "1", "--batch", "5")
    assert done.returncode == 0, done.stderr
    assert f"Total params: {TEXT_SAYS - 2049 * (1000 - 3):,}" in done.stdout
    assert "Non-trainable params: 53,120" in done.stdout
    assert "val_loss" in done.stdout
