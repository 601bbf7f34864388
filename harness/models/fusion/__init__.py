"""Ways to fuse modalities, one file for each name in the literature."""
