"""Running a method over a dataset: one boundary an image, one writer a folder, what a result depends on."""
