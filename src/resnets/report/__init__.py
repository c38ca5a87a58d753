"""The images of a run and its offline page, drawn from values and from the files of the run folder."""
