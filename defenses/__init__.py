"""Defences: robust fusion, adversarial training, modality-dropout training.

Stands on `harness.models` and `attacks`. Models and recipes that live here are entered in the
catalogue, and reached by their names like all others.
"""

CATALOGUE: dict[str, dict[str, str]] = {
    "model": {
        "robust-fusion": "defenses.robust_fusion:robust_fusion",
        "latent-ensemble": "defenses.latent_ensemble:latent_ensemble",
        "gating": "defenses.gating:gating",
        "crmt": "defenses.crmt:crmt",
    },
    "recipe": {
        "single-source-adversarial": "defenses.single_source_adversarial:SingleSourceAdversarial",
        "multi-source-adversarial": "defenses.multi_source_adversarial:MultiSourceAdversarial",
        "varmat": "defenses.varmat:Varmat",
        "crmt": "defenses.crmt:Crmt",
        "modality-dropout": "defenses.modality_dropout:ModalityDropout",
    },
}
