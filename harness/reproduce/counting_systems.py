"""The systems of the counting study: MoVie, its rivals and the blind baselines, each with its
recipe.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from harness.reproduce.setting import Effort, Setting, System

MOVIE = "MoVie"
JOINED_MOVIE = "MoVie, joined"
MEAN = "MUTAN, no attention"
SCENES = "batch_size=32&detect=8&epochs=12"  # MoVie and RCN take the longest for an epoch
REGIONS = "batch_size=32&detect=12"
LONGER = f"{REGIONS}&epochs=24"  # what only looks at regions is cheap, and learns from more epochs in the same time
OWN = {
    "IRLC": f"{REGIONS}&epochs=40",  # of counts that are drawn it learns slowly: its recipe's own length
    "SoftCount": LONGER,
    "UpDown": f"{REGIONS}&epochs=48&mirror=true&cutmix=0.8",  # learns mirrored scenes by heart, too
    "Counter": LONGER,
    "MUTAN": f"{LONGER}&mirror=true",  # what looks by a softmax learns the scenes that it is shown by heart
    # a mean shows kinds and counts only roughly
    MEAN: f"{REGIONS}&epochs=72&mirror=true&cutmix=0.9&blur=1&weight_decay=0.1&glance=1",
}
PHOTOGRAPHS = "blur=1&mirror=true&middle=0.5&jitter=0.2"
CELLS = f"learning_rate=0.003&epochs=30&batch_size=16&detect=60&{PHOTOGRAPHS}"
JOINED_CELLS = f"learning_rate=0.004&epochs=90&batch_size=48&detect=30&{PHOTOGRAPHS}&cutmix=0.7&last=true"
BLIND = ("question-blind", "image-blind")


def counters(options: str, own: Mapping[str, str] | None = None) -> tuple[System, ...]:
    """MoVie, its rivals and the blind baselines; IRLC and SoftCount learn by losses of their own.

    Args:
        options: of the recipes.
        own: by system, its options instead of those.
    """
    taken = defaultdict(lambda: options, own or {})
    return (
        System(MOVIE, "movie", f"counting?{taken[MOVIE]}"),
        System("IRLC", "irlc", f"irlc?learning_rate=0.002&{_shared(taken['IRLC'])}"),
        System("SoftCount", "softcount", f"softcount?{_shared(taken['SoftCount'])}"),
        System("UpDown", "updown", f"counting?{taken['UpDown']}"),
        System("Counter", "counter", f"counting?{taken['Counter']}"),
        System("MUTAN", "mutan", f"counting?{taken['MUTAN']}"),
        System(MEAN, "mutan?attention=false", f"counting?{taken[MEAN]}"),
        System("RCN", "rcn", f"counting?{taken['RCN']}"),
        *(System(name, name, f"counting?{taken[name]}") for name in BLIND),
    )


def _shared(options: str) -> str:
    """Those that the recipes of IRLC and SoftCount share with the recipe `counting`."""
    return "&".join(each for each in options.split("&") if not each.startswith(("blur", "learning_rate")))


SETTINGS = {
    "counting": Setting("counting", counters(SCENES, OWN), Effort(samples=48)),
    "bccd": Setting(
        "bccd", (*counters(CELLS), System(JOINED_MOVIE, "movie", f"counting?{JOINED_CELLS}")), Effort(samples=48)
    ),
}
