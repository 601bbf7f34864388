"""Gates: limits on a run's numbers that a merge can depend on, decided by a test and not by the
point.
"""
