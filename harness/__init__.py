"""How a multimodal model fails: worst case under attack, average case with inputs missing."""

__version__ = "0.1.0"

CATALOGUE = {
    "schedule": {
        "mcar": "harness.schedules:mcar",
        "mcar-keep-one": "harness.schedules:mcar_keep_one",
        "fixed": "harness.schedules:fixed",
    },
}
