"""Detectors on any network of the zoo: Faster R-CNN, Mask R-CNN and YOLOv3."""
