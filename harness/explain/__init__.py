"""The parts of an input that support an answer."""
