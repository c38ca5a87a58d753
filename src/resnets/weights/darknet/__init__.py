"""Files of darknet (pjreddie/darknet): `.cfg`, the layers, and `.weights`, their numbers. OpenCV 4 runs them."""
