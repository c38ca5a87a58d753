"""From the arguments of `train` to a complete recipe: arguments, conflicts between values, values chosen for the user."""
