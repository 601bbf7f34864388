"""The parts of an input that speak for an answer."""
