"""What a network looks like: its graph, its layer table, its diagram."""
