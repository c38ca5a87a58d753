"""What the commands do, as functions: `resnets.evaluate`, `resnets.check` and the others; the command line calls these."""
