"""Images in: where they come from, how they are decoded, split, checked and fed to a network."""
