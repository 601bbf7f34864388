"""Models that count: a question about an image, or about regions of it, answered with a number."""
