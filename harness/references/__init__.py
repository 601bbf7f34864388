"""References: registered names, their options, and users' files."""
