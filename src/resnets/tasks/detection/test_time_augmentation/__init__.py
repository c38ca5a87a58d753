"""Test-time augmentation of detectors: several views of an image, and the detections of several detectors fused."""
