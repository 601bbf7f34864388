"""Files that appear whole, folders at any fsspec address, Parquet, YAML and tensors."""
