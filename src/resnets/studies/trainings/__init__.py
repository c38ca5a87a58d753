"""The trainings of a study: recipes, runs that are found again, the rows that are kept of them, their cost and their curves."""
