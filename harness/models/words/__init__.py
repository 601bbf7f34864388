"""Networks that answer in words."""
