"""Attacks on several modalities at once: a library of its own, on plain tensors.

>>> from attacks.objective import Classification
>>> from attacks.region import Range
>>> from attacks.search import search
>>> objective = Classification(model, labels)
>>> found = search(objective, {"image": x}, {"image": Range(0, 1)}, "image@linf:8/255")
>>> found.strength  # the best known critical strength of every sample, in units of 8/255
"""

CATALOGUE = {
    "search": {
        "fast": "attacks.presets:FAST",
        "standard": "attacks.presets:STANDARD",
        "thorough": "attacks.presets:THOROUGH",
        "blackbox": "attacks.blackbox:BlackBox",
        "none": "attacks.fixed_budget:NONE",
    },
    "attack": {
        "fgsm": "attacks.fgsm:fgsm",
        "pgd": "attacks.pgd:pgd",
        "apgd": "attacks.apgd:apgd",
        "fmn": "attacks.fmn:fmn",
        "square": "attacks.square:square",
        "segpgd": "attacks.dense:segpgd",
        "cospgd": "attacks.dense:cospgd",
    },
}
