"""Studies of new or trained networks, one file each."""
