"""The names in scenarios: norms, edits and the default limit of a search. This module reads a
scenario's names without torch.
"""

from __future__ import annotations

NORM_NAMES = ("linf", "l2", "l1")
EDIT_EXAMPLES = {
    "tokens": "1",
    "l0": "5",
    "patch": "0.1",
    "universal": "0.1",
    "air": "0.01",
    "dead": "3",
    "stuck": "1",
    "shift": "100",
}
"""The names of the edits, with a size of each as a message suggests it."""
DEFAULT_LIMIT = 8.0  # the largest strength searched
