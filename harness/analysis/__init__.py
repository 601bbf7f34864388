"""Statistics: every interval and every test of the product.

docs/statistics.md lists the methods and their coverage.
"""
