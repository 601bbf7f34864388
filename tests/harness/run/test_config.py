"""The configuration: a file has the options of the flags, flags win, and a written file reads
back.
"""

from pathlib import Path
from typing import get_args

import pytest

from attacks.errors import BadInput
from harness.engine.environment import DEVICES
from harness.run.config import Evaluation, dump, resolve


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    asked = Evaluation(
        scenario=("image@linf:8/255 + text@missing",), samples="all", budget=90.0, schedule=(), limit=0.5
    )
    (tmp_path / "c.yaml").write_text(dump(asked))
    assert resolve(tmp_path / "c.yaml", {}) == asked


def test_the_devices_of_a_file_are_those_there_are() -> None:
    """They stand in two places: the configuration imports no torch, and the module that chooses a
    device lies below it.
    """
    assert get_args(Evaluation.model_fields["device"].annotation) == DEVICES


def test_flags_win(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("seed: 3\nmodel: late\nbudget: 5m\n")
    resolved = resolve(tmp_path / "c.yaml", {"seed": 4, "samples": None})
    assert (resolved.seed, resolved.model, resolved.budget, resolved.samples) == (4, ("late",), 300.0, 100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: digits\nseed: 1\n\nseed: 2\n", "key 'seed' appears twice, again in line 4"),
        ("sed: 1", "unknown configuration key 'sed': did you mean seed"),
        ("seed: many", "seed = 'many'"),
        ("- seed", "must hold keys and values"),
        ("seed: [", "is not YAML"),
        ("model: []", "model = []"),
        ("scenario: {a: b}", "give one text, or a list of texts"),
        ("schedule: 3", "give one text, or a list of texts"),
        *(
            (f"{key}: yes", f"{key} = True: give a number")
            for key in ("seed", "limit", "repeats", "batch_size", "budget")
        ),
        *(
            (f"samples: {digits}", "give a whole number from 1, or all")
            for digits in ("\uff18", "\u0668", "\u00b2", "'+8'")
        ),
        ("samples: true", "samples = True: give a whole number from 1, or all"),
        ("seed: 9223372036854775808", "seed = 9223372036854775808"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(BadInput) as error:
        resolve(tmp_path / "c.yaml", {})
    assert message in str(error.value) and "\n" not in str(error.value)
