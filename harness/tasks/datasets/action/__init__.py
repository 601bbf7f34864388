"""Tasks that ask what a person does, from a skeleton and a film."""
