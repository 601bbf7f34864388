"""A run on disk: its tables, its directory, its configuration, and its checks."""
