"""What of an input speaks for an answer."""
