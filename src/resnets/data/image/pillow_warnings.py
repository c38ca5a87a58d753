"""Warnings of Pillow, which name no file."""

import warnings


def ignore_pillow_warnings() -> None:
    """Silence Pillow's warnings about odd metadata, which name no file; only in processes of our own."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
