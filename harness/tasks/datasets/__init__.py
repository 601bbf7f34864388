"""One file, or one folder, a data set."""
