import io

from rich.console import Console
from rich.table import Table

from resnets.tasks.detection.task import Detection

TASK = Detection(("cat", "dog"))


def printed(table: Table) -> list[list[str]]:
    text = io.StringIO()
    Console(file=text, width=200).print(table)
    return [line.split() for line in text.getvalue().splitlines()]


def test_a_row_has_the_number_of_each_model_with_its_interval() -> None:
    one = {"count": 3, "box_ap": 0.5, "box_ap_interval": [0.25, 0.75], "protocol": "one view", "box_ap_small": None}
    other = {"count": 3, "box_ap": None}
    rows = printed(TASK.tables([one, other], ["a", "b"]))
    assert rows == [["a", "b"], ["count", "3", "3"], ["box_ap", "0.500", "[0.250,", "0.750]", "-"]]


def test_a_class_without_objects_has_dashes() -> None:
    rows = [
        {"class": "cat", "objects": 2, "reported": 1, "box_ap": 1.0},
        {"class": "dog", "objects": 0, "reported": 0, "box_ap": None},
    ]
    title, table = TASK.class_table({"per_class": rows}) or ("", Table())
    assert "threshold" in title
    assert printed(table) == [
        ["class", "objects", "reported", "box_ap"],
        ["cat", "2", "1", "1.000"],
        ["dog", "0", "0", "-"],
    ]


def test_images_without_objects_have_a_reason() -> None:
    rows = [{"class": name, "objects": 0, "reported": 1, "box_ap": None} for name in ("cat", "dog")]
    _, table = TASK.class_table({"per_class": rows}) or ("", Table())
    words = [word for line in printed(table)[3:] for word in line]
    assert " ".join(words) == "The images have no object of these classes, so there is no AP."


def test_several_classes_that_are_not_used_are_one_line() -> None:
    rows = [{"class": "cat", "objects": 2, "reported": 1}, {"class": "dog", "objects": 0, "reported": 3}]
    rows += [{"class": f"unused {k}", "objects": 0, "reported": 0} for k in range(9)]
    _, table = TASK.class_table({"per_class": rows}) or ("", Table())
    lines = printed(table)
    assert lines[1:3] == [["cat", "2", "1"], ["dog", "0", "3"]]
    assert " ".join(word for line in lines[3:] for word in line).startswith("9 other classes have no object here")


def test_the_headline_leaves_out_what_was_not_measured() -> None:
    metrics = {"box_ap": 0.861, "box_ap50": 0.987, "mask_ap": None, "f1_micro": None}
    assert TASK.headline(metrics) == "box AP 86.1 %, AP50 98.7 %"
    without = {"num_objects": 0, "box_ap": None, "box_ap50": None, "f1_micro": None}
    assert TASK.headline(without) == "the images have no object of these classes, so there is no AP"
