"""Predictions of any number of images as parts: Parquet files of a folder that any number of processes fill."""
