"""Models of inputs of which one is missing for most samples, one file for each name in the
literature.
"""
