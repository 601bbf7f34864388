"""Measures how a multimodal model fails: worst case under attack, average case with inputs
missing.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from harness.version import __version__

if TYPE_CHECKING:
    from harness.api import Run, evaluate, load, train
    from harness.models.calling import wrap

# MKL rounds by the position of a row in memory unless this is set, and a ledger may not depend on
# the batch (law 6). AUTO alone does not work on every CPU. MKL reads this at its first product; if
# a program has made one before, that program decides.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
# torch convolves in TF32 on a GPU, with ten bits of mantissa. Verdicts need float32 (--precision
# sets bf16).
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")

__all__ = ["Run", "__version__", "evaluate", "load", "train", "wrap"]


def __getattr__(name: str) -> Any:
    """Load the Python interface when it is used: importing this package loads no torch."""
    if name in __all__:
        return getattr(importlib.import_module("harness.models.calling" if name == "wrap" else "harness.api"), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


CATALOGUE = {
    "schedule": {
        "mcar": "harness.schedules.masks:mcar",
        "mcar-keep-one": "harness.schedules.masks:mcar_keep_one",
        "fixed": "harness.schedules.masks:fixed",
        "imbalanced": "harness.schedules.masks:imbalanced",
        "exclusive": "harness.schedules.masks:exclusive",
        "mnar": "harness.schedules.masks:mnar",
        "mnar-label": "harness.schedules.masks:mnar_label",
        "gap": "harness.schedules.gap:Gap",
    },
}
