"""Gates: limits on a run's numbers that a merge can depend on. A statistical test decides them, not
the measured value alone.
"""
