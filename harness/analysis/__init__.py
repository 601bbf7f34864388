"""Statistics: every interval and every test of the product.

docs/statistics.md says which stands where, and what it covers.
"""
