"""Defences: robust fusion, adversarial training, modality-dropout training.

It uses `harness.models` and `attacks`. Its models and recipes are in the catalogue, and have names
like all others.
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
