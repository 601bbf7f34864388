"""Models that answer with maps."""
