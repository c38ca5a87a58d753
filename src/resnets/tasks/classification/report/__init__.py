"""The report of a classification run: its figures, sentences and tables."""
