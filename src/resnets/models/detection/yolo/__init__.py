"""YOLOv3 (Redmon and Farhadi 2018): neck, grid of predictions, loss and anchors."""
