"""Studies: claims of the papers about residual networks, each measured with a control and judged by an interval."""
