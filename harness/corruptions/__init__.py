"""Corruptions: noise, blur, typing errors and similar damage to a modality, without an adversary.

A corruption is a plain function ``(x, severity, modality, generator) -> Tensor`` of one sample in
raw units: severity 1 to 5, all randomness from the generator, `x` left as it is. It draws the same
numbers at every severity, so that a curve over severities is smooth. Values that leave the valid
range are clipped to it afterwards. One file per kind of modality; a registered name is
``kind/name``.
"""

CATALOGUE = {
    "corruption": {
        "image/noise": "harness.corruptions.image:noise",
        "image/blur": "harness.corruptions.image:blur",
        "image/occlusion": "harness.corruptions.image:occlusion",
        "image/contrast": "harness.corruptions.image:contrast",
        "image/quantisation": "harness.corruptions.image:quantisation",
        "image/shift": "harness.corruptions.image:shift",
        "video/drop": "harness.corruptions.video:drop",
        "video/freeze": "harness.corruptions.video:freeze",
        "video/repeat": "harness.corruptions.video:repeat",
        "video/reorder": "harness.corruptions.video:reorder",
        "video/swap": "harness.corruptions.video:swap",
        "video/gap": "harness.corruptions.video:gap",
        "video/shift": "harness.corruptions.video:shift",
        "audio/noise": "harness.corruptions.audio:noise",
        "audio/clipping": "harness.corruptions.audio:clipping",
        "audio/dropout": "harness.corruptions.audio:dropout",
        "audio/low-pass": "harness.corruptions.audio:low_pass",
        "audio/shift": "harness.corruptions.audio:shift",
        "text/typos": "harness.corruptions.text:typos",
        "text/deletion": "harness.corruptions.text:deletion",
        "text/swap": "harness.corruptions.text:swap",
        "features/noise": "harness.corruptions.features:noise",
        "features/dropout": "harness.corruptions.features:dropout",
    },
}
