"""`reproduce`: train and evaluate all that a study of the lecture needs, over seeds, and write its
tables again.

A study NAME is the object NAME in capitals of the module `harness.reproduce.NAME`.
"""

NAMES = ("contrastive", "counting", "fusion", "segmentation", "translation", "action", "speech", "missing")
"""The studies, in the order of the lecture's page; the command line lists them."""
ALL = "all"
"""In the place of a name: every study, one after another."""
