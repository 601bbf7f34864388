"""The report of a run: its page, its figures and its samples."""
