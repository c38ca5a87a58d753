"""Studies that train networks alike and compare their errors, one file each, and the differences and controls that they share."""
