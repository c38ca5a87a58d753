"""The networks. This package imports torch, torchvision, matplotlib (the diagram) and, of the others, the modules at the top."""
