"""`reproduce`: train and evaluate all that a study of the lecture needs, over seeds, and write its
tables again.
"""

from harness.reproduce.studies import STUDIES, ReproduceOptions, reproduce

__all__ = ["STUDIES", "ReproduceOptions", "reproduce"]
