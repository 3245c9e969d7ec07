"""A page on which people choose between the results of runs, two at a time."""
