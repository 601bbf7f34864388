"""The problems of tasks, one file for each."""
