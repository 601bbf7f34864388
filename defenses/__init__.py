"""Defences: robust fusion, adversarial training, modality-dropout training.

Stands on `harness.models` and `attacks`. Models and recipes that live here are entered in the
catalogue, and reached by their names like all others.
"""

CATALOGUE: dict[str, dict[str, str]] = {"model": {}, "recipe": {}}
