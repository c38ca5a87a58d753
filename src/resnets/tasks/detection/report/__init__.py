"""The report of a detection run: its figures, sentences and tables."""
