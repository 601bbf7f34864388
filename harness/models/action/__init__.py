"""Models that say what a person does, from a skeleton, a film or both."""
