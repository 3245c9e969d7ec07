"""From the rows of runs to tables, plots and a page: means with intervals, paired differences, published results."""
