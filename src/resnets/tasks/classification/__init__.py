"""Classification: prediction, evaluation, calibration and comparison of models."""
