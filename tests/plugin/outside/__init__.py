"""A package of its own with a few parts, as a user would write them: nothing in diffharmon knows of it."""
