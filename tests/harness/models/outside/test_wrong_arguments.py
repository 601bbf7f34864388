"""Arguments of a wrong kind, of tasks and networks that answer in words, are one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from attacks.errors import BadInput
from harness.models.outside.huggingface import adapted
from harness.tasks import Task
from tests.commandline import run
from tests.harness.models.outside import whisper_network
from tests.harness.models.outside.answering_networks import made
from tests.harness.models.outside.wrong_tasks import CHOSEN, IMAGES, asked, heard, raising


@pytest.mark.parametrize(
    ("make", "options", "why"),
    [
        (asked, {"ways": 0}, "ways is 0: give a whole number from 1"),
        (asked, {"ways": -1}, "ways is -1: give a whole number"),
        (asked, {"ways": "2"}, "ways is '2': give a whole number"),
        (asked, {"ways": True}, "ways is True: give a whole number"),
        (asked, {"length": "3"}, "length of free answers is '3': give a whole number"),
        (asked, {"length": 0}, "length of free answers is 0: give a whole number"),
        (asked, {"length": -2}, "length of free answers is -2: give a whole number"),
        (asked, {"length": 2.0}, "length of free answers is 2.0: give a whole number"),
        (asked, {"right": [[2], [3]]}, "sample 0: one of the answers is 2, of type int: give a text"),
        (asked, {"right": [["red"], [None]]}, "sample 1: one of the answers is None, of type NoneType: give a text"),
        (asked, {"right": [[], ["two"]]}, "sample 0 has no acceptable answer"),
        (asked, {"right": ["red", "two"]}, "sample 0: there is the text 'red' in place of a list of answers"),
        (asked, {"right": [3, 4]}, "sample 0: there is 3, of type int, in place of a list of answers"),
        (asked, {"right": None}, "there is None, of type NoneType, in place of a list of answers for each"),
        (asked, {"questions": ["how", 3]}, "one of the questions is 3, of type int: give a text"),
        (asked, {"questions": "ab"}, "there is the text 'ab' in place of a list of questions"),
        (asked, {"questions": None}, "there is None, of type NoneType, in place of a list of questions"),
        (asked, {"replacements": "8"}, "replacements is '8': give a whole number"),
        (asked, {"replacements": 2.5}, "replacements is 2.5: give a whole number"),
        (asked, {"judge": 5}, "the judge is 5: give a name .* or a function of texts"),
        (asked, {"judge": ["exact"]}, r"the judge is \['exact'\]: give a name"),
        (asked, {"template": 5}, "the template is 5, of type int: give a text"),
        (asked, {"before": None}, "before is None, of type NoneType: give a text"),
        (asked, {"embedding": None}, "the embedding is NoneType, not a tensor of rows: give network.get_input_emb"),
        (asked, {"embedding": torch.zeros(5)}, "not a tensor of rows"),
        (asked, {"problem": 3}, "option 'problem' is set by this kind of task: leave it out"),
        (asked, {"kinds": 5}, "kinds is 5: give a dictionary of names"),
        (asked, {"choices": 5}, "the choices are 5: give a list of texts for each question"),
        (asked, {"choices": [["red", 2], ["two", "no"]]}, r"sample 0 has the choices \['red', 2\]: give two or more"),
        (asked, {"choices": [None, ["two", "no"]]}, "sample 0 has the choices None: give two or more"),
        (asked, {"choices": [["red", ""], ["two", "no"]]}, r"\['red', ''\] have no tokens, or the same"),
        (asked, {"choices": [["red", " red"], ["two", "no"]]}, "have no tokens, or the same: write them in other"),
        (asked, CHOSEN | {"right": [[1], ["two"]]}, "sample 0: one of the answers is 1, of type int"),
        (heard, {"length": "3"}, "length of free answers is '3': give a whole number"),
        (heard, {"texts": [1, 2]}, "one of the transcripts is 1, of type int: give a text"),
        (heard, {"texts": "ab"}, "there is the text 'ab' in place of a list of transcripts"),
        (heard, {"vocabulary": 0}, "vocabulary of free answers is 0: give a whole number"),
        (heard, {"judge": 5}, "the judge is 5: give a name"),
        (heard, {"ranges": "x"}, "ranges is 'x': give a dictionary of names"),
    ],
)
def test_an_argument_of_a_wrong_kind_is_one_sentence(make: Any, options: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        make(**options)


@pytest.mark.parametrize(
    ("judge", "why"),
    [
        (raising, "judge 'raising' raises KeyError: .* on the text '.*', where .* is right: mend the judge"),
        (lambda said: 1.0, "judge '<lambda>' raises TypeError: .* on the text"),
        (lambda said, right: None, "judge '<lambda>' raises TypeError: .* on the text"),
        (lambda said, right: float("nan"), "gives the score nan to the text '.*', where .* is right: a score is a"),
        (lambda said, right: 2, "gives the score 2 to the text"),
        (lambda said, right: -0.1, "gives the score -0.1 to the text"),
    ],
)
def test_a_judge_that_fails_is_named_with_the_text(judge: Any, why: str) -> None:
    network, processor, _, _ = made("llava")
    task = asked(judge=judge, length=3)
    batch = task.splits["test"].take([0, 1])
    with torch.no_grad(), pytest.raises(BadInput, match=why):
        task.problem.score(adapted(network, task, processor)(batch.inputs), batch.targets)


def test_networks_processors_and_tasks_of_another_kind_are_refused() -> None:
    network, processor, task, _ = made("llava")
    hears, ears, sounds = whisper_network.made()
    answers = {"answers": task.splits["test"].inputs["answers"][:2]}
    options: dict[str, Any] = {"kinds": {"image": "image"}, "ranges": {"image": (0, 255)}, "splits": "test"}
    silent = Task.from_arrays(
        {"image": IMAGES}, torch.arange(2), problem=task.problem, extra_inputs=answers, **options
    )  # without a text
    refused: list[tuple[Any, Any, Any, str]] = [
        (network, "asked", processor, "the task is 'asked': give a harness.tasks.Task"),
        (network, silent, processor, "is not one image and one question"),
        (network, task, ears, "pass the network's image processor"),
        (network, task, processor.tokenizer, "has no tokenizer with an end token: give the network's processor"),
        (network, task, None, "NoneType has no tokenizer"),
        (hears, task, processor, "WhisperForConditionalGeneration has no get_image_features"),
        (network, sounds, ears, "LlavaForConditionalGeneration does not write what it hears: give Whisper"),
        (hears, sounds, processor, "is a sound: pass the network's feature extractor"),
        (torch.nn.Linear(2, 2), sounds, ears, "Linear does not write what it hears"),
    ]
    for a_network, a_task, a_processor, why in refused:
        with pytest.raises(BadInput, match=why):
            adapted(a_network, a_task, a_processor)


FILE = """
from harness.models.outside.huggingface import adapted
from tests.harness.models.outside.answering_networks import made
from tests.harness.models.outside.wrong_tasks import asked, raising


def Numbers():
    return asked(right=[[2], [3]])


def Judged():
    return asked(judge=raising)


def build(task):
    network, processor, _, _ = made("llava")
    return adapted(network, task, processor)
"""


@pytest.mark.parametrize(("task", "why"), [("Numbers", "is 2, of type int"), ("Judged", "judge 'raising' raises")])
def test_on_the_command_line_it_is_exit_code_2(
    task: str, why: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "vlm.py").write_text(FILE)
    named = ("evaluate", "--task", f"vlm.py:{task}", "--model", "vlm.py:build", "--out", "run")
    assert run(monkeypatch, *named) == 2
    shown = capsys.readouterr().err
    assert why in shown and "Traceback" not in shown
