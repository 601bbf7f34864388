"""How things are named: registered names, their options, and users' files."""
