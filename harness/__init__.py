"""How a multimodal model fails: worst case under attack, average case with inputs missing."""

import os

# MKL rounds by where a row lies in memory unless told not to, and a ledger may not depend on the batch (law 6).
# AUTO alone does not hold on every CPU. It reads this at its first product; where a program has made one before, that program decides.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
# torch convolves in TF32 on a card, with ten bits of mantissa; a verdict is to be float32 (and bf16 is asked for by --precision).
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")

__version__ = "0.1.0"

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
