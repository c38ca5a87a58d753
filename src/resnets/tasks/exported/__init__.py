"""Exported files as trained models."""
