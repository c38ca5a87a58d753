"""The command line: one verb per file, no logic of its own."""
