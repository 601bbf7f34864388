"""Modality dropout: which inputs go missing, whole modalities or a stretch inside one, and at what
rate.
"""

from harness.schedules.gap import Gap
from harness.schedules.parsing import GRAMMAR, parse
from harness.schedules.schedule import Schedule, bits

__all__ = ["GRAMMAR", "Gap", "Schedule", "bits", "parse"]
