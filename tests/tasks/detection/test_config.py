"""The settings that the name of a detector decides, or weights."""

from resnets.data.image.preprocess import Preprocess
from resnets.models import zoo
from resnets.tasks.detection.config import DetectionConfig, model_settings
from resnets.tasks.detection.task import Detection
from resnets.weights.checkpoint import Checkpoint


def test_the_name_of_a_model_decides_the_settings() -> None:
    assert Detection.backbone_name("fasterrcnn_light_resnet18") == "resnet18"
    assert Detection.backbone_name("fasterrcnn_resnet50_fpn_v2") == "resnet50"
    assert Detection.backbone_name("resnet18") == "resnet18"
    values = model_settings("yolov3_light_resnet18", None)
    assert (values["task.architecture"].value, values["task.nms_iou"].value) == ("yolov3", 0.45)
    assert "model.name" not in values
    plain = model_settings("resnet18", None)
    assert plain["model.name"].value == "fasterrcnn_light_resnet18"
    assert plain["task.neck_channels"].value == 96


def test_a_detector_that_is_trained_further_keeps_its_settings() -> None:
    sizes = (8.0, 16.0, 32.0, 64.0, 128.0)
    config = {key: value for key, value in vars(DetectionConfig(anchor_sizes=sizes)).items() if key != "name"}
    parent = Checkpoint(zoo.get_spec("tiny"), Preprocess(), ("cat",), {}, task="detection", config=config)
    values = {key: chosen.value for key, chosen in model_settings("tiny", parent).items()}
    assert values["task.anchor_sizes"] == sizes
    assert "model.name" not in values
