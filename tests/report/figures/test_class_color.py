from resnets.report.figures.class_color import class_color


def test_colors_of_80_classes_are_different() -> None:
    assert len({class_color(label) for label in range(80)}) == 80
