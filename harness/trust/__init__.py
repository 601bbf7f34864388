"""The checks that say whether a number may be believed, and the flags they raise."""
