"""The embedded task: nothing on both sides of a split, values in range."""

import json
from itertools import combinations
from pathlib import Path

import harness.tasks.datasets.digits as package
from harness.tasks import Task


def test_no_voice_or_accent_on_both_sides() -> None:
    index = json.loads((Path(package.__file__).parent / "data" / "clips.json").read_text())
    for key in ("voice", "accent"):
        for left, right in combinations(index.values(), 2):
            assert not {clip[key] for clip in left} & {clip[key] for clip in right}


def test_splits_share_no_sample(digits: Task) -> None:
    from harness.tasks.sample_hashes import sample_hashes

    hashes = [set(sample_hashes(split)) for split in digits.splits.values()]
    assert not hashes[0] & hashes[1] and not hashes[0] & hashes[2] and not hashes[1] & hashes[2]


def test_text_is_one_hot(digits: Task) -> None:
    text = digits.splits["test"].inputs["text"]
    assert bool((text.sum(-1) == 1).all()) and set(text.unique().tolist()) == {0.0, 1.0}
