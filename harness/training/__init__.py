"""Training by recipes, also on data that lack modalities."""
