"""The checks whether a number can be believed, and the flags that they raise."""
