"""The networks. This package imports torch, torchvision and, of the others, only the errors and the writing of files."""
