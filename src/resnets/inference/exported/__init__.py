"""Read models that were exported to ONNX or OpenVINO, and compute with them."""
