"""Tokenized texts as tasks: candidates, padding that stays, and whole runs from the command line,
verified.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.tasks import Task
from harness.tasks.tokens import embedding_task, nearest, token_task
from tests.commandline import run
from tests.tinynetworks import CLS, PAD, POSITIONS, SEP, SPECIAL, VOCABULARY, WIDTH, bert, encoded

TABLE = torch.randn(VOCABULARY, WIDTH, generator=torch.Generator().manual_seed(3))
TARGETS = torch.arange(30) % 3


def task(count: int = 4, **options: object) -> Task:
    texts = encoded()
    near = nearest(TABLE, texts["input_ids"], count, SPECIAL)
    return token_task(texts, TARGETS, near, special=SPECIAL, pad=PAD, splits=["train", "val", "test"] * 10, **options)


def test_the_nearest_are_nearest_by_cosine_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = encoded()["input_ids"]
    near = nearest(TABLE, ids, 5, SPECIAL)
    for row, position in ((0, 1), (7, 2)):
        likeness = F.cosine_similarity(TABLE, TABLE[ids[row, position]][None])
        order = [
            each
            for each in likeness.argsort(descending=True).tolist()
            if each not in (*SPECIAL, int(ids[row, position]))
        ]
        assert near[row, position].tolist() == order[:5]
    monkeypatch.setattr("harness.tasks.tokens.BLOCK", 3)
    assert torch.equal(nearest(TABLE, ids, 5, SPECIAL), near)


def test_choices_are_the_text() -> None:
    test, ids = task().splits["test"], encoded()["input_ids"]
    rows = [int(sample) for sample in test.samples]
    best = test.inputs["text"].argmax(2, keepdim=True)
    assert torch.equal(test.inputs["text-candidates"].gather(2, best).squeeze(2), ids[rows])
    assert torch.equal(best.squeeze(2) == 0, ids[rows] == PAD) and bool(
        (test.inputs["text-candidates"][:, :, 0] == PAD).all()
    )
    assert (
        task().extra_inputs == ("text-candidates",)
        and task().modality("text").ball == "tokens:1"
        and "4 replacements" in task().note
    )


def test_an_own_id_among_the_replacements_is_no_edit() -> None:
    texts = encoded()
    own = texts["input_ids"][..., None].expand(-1, -1, 3).numpy()
    made = token_task(texts, TARGETS, own, special=SPECIAL, pad=PAD, groups=["a", "b"] * 15, duplicates="allowed")
    assert not bool(made.splits["train"].editable["text"][..., 2:].any()) and set(made.splits["train"].groups) == {
        "a",
        "b",
    }


def test_embeddings_are_those_of_the_table() -> None:
    made = embedding_task(encoded(), TARGETS, TABLE, special=SPECIAL, text="review")
    batch, ids = made.splits["test"], encoded()["input_ids"]
    rows = [int(sample) for sample in batch.samples]
    real = ids[rows] != PAD
    assert torch.equal(batch.inputs["review"][real], TABLE[ids[rows]][real]) and not batch.inputs["review"][~real].any()
    assert torch.equal(batch.inputs["review-attention"], real) and made.modality("review").shape == (POSITIONS, WIDTH)


def broken(**changed: Tensor) -> dict[str, Tensor]:
    return {**encoded(), **changed}


def test_what_cannot_be_used_is_one_sentence() -> None:
    near = torch.zeros(30, POSITIONS, 2, dtype=torch.int64)
    for said, texts in {
        "unknown input 'tokens' of a tokenized text": broken(tokens=torch.zeros(1)),
        "attention_mask has shape": broken(attention_mask=torch.ones(30, 2, dtype=torch.int64)),
        "1 texts of 'text' have an attention_mask of zeros only": broken(
            attention_mask=(torch.arange(30) > 0)[:, None].expand(-1, POSITIONS)
        ),
        "padding of 'text' holds the id": broken(attention_mask=(torch.arange(POSITIONS) < 1).long().expand(30, -1)),
        "needs input_ids, got nothing": {},
    }.items():
        with pytest.raises(BadInput, match=said):
            token_task(texts, TARGETS, near, special=SPECIAL, pad=PAD)
    with pytest.raises(BadInput, match=r"replacements have shape \(30, 6\)"):
        token_task(encoded(), TARGETS, near[..., 0], special=SPECIAL, pad=PAD)
    with pytest.raises(BadInput, match="the vocabulary allows 1 to 36"):
        nearest(TABLE, encoded()["input_ids"], 37, SPECIAL)
    with pytest.raises(BadInput, match="the embedding has 9 rows"):
        nearest(TABLE[:9], encoded()["input_ids"], 1, SPECIAL)
    with pytest.raises(BadInput, match="the embedding has 9 rows"):
        embedding_task(encoded(), TARGETS, TABLE[:9], special=SPECIAL)


def test_from_arrays_takes_what_is_free_and_what_is_given() -> None:
    x, free = torch.rand(20, 3), np.arange(3) > 0
    made = Task.from_arrays(
        {"x": x}, torch.arange(20) % 2, editable={"x": np.tile(free, (20, 1))}, extra_inputs={"boxes": np.ones((20, 4))}
    )
    batch = made.splits["test"]
    valid = made.bounds(batch)["x"].over(batch.inputs["x"])
    assert made.extra_inputs == ("boxes",) and batch.inputs["boxes"].dtype == torch.float32
    assert torch.equal(
        torch.as_tensor(valid.low) < torch.as_tensor(valid.high), torch.tensor(free).expand(len(batch), 3)
    )
    with pytest.raises(BadInput, match="input 'boxes' has 3 samples but there are 20 targets"):
        Task.from_arrays({"x": x}, torch.arange(20) % 2, extra_inputs={"boxes": np.ones((3, 4))})
    with pytest.raises(BadInput, match="unknown modality 'y'"):
        Task.from_arrays({"x": x}, torch.arange(20) % 2, editable={"y": np.ones((20, 3))})
    with pytest.raises(BadInput, match="the mask of modality 'x' has shape"):
        Task.from_arrays({"x": x}, torch.arange(20) % 2, editable={"x": np.ones((20, 2))})
    with pytest.raises(BadInput, match="is a modality and also an extra input"):
        Task.from_arrays({"x": x}, torch.arange(20) % 2, extra_inputs={"x": x})


MINE = """
import torch
from harness.models.outside import huggingface
from harness.models.outside.zero_shot import ZeroShot
from harness.tasks import Classification, Task
from harness.tasks.tokens import embedding_task, nearest, token_task
from tests.tinynetworks import LABELS, PAD, PROCESSOR, SPECIAL, bert, clip, encoded, pixels, vit

TEXTS, PROMPTS, SPLITS = encoded(), encoded(LABELS), ["train", "val", "test"] * 10


def judged(network, **arguments):
    with torch.no_grad():
        return network(**arguments).logits.argmax(1)


def tokens():
    near = nearest(bert().get_input_embeddings().weight, TEXTS["input_ids"], 6, SPECIAL)
    options = {"name": "tokens", "problem": Classification(LABELS), "splits": SPLITS}
    return token_task(TEXTS, judged(bert(), **TEXTS), near, special=SPECIAL, pad=PAD, **options)


def embeddings():
    options = {"name": "embeddings", "problem": Classification(LABELS), "splits": SPLITS}
    vectors = bert().get_input_embeddings().weight
    return embedding_task(TEXTS, judged(bert(), **TEXTS), vectors, special=SPECIAL, **options)


def images():
    options = {"kinds": {"image": "image"}, "ranges": {"image": (0, 255)}}
    options |= {"problem": Classification(LABELS), "splits": SPLITS}
    mean, std = (torch.tensor(each).reshape(-1, 1, 1) for each in (PROCESSOR.image_mean, PROCESSOR.image_std))
    x = (pixels() / 255 - mean) / std
    prompted = clip()(**PROMPTS, pixel_values=x).logits_per_image.argmax(1)
    return {
        "images": Task.from_arrays({"image": pixels()}, judged(vit(), pixel_values=x), name="<b>images", **options),
        "prompted": Task.from_arrays({"image": pixels()}, prompted, **options),
    }


def seen():
    return images()["images"]


def compared():
    return images()["prompted"]


def build(task):
    return huggingface.adapted(vit() if task.names == ("image",) else bert(), task, PROCESSOR)


def prompted(task):
    return ZeroShot(clip(), task, PROMPTS, PROCESSOR)
"""
RUNS = {
    "tokens": ("tokens", "build", ["text@tokens:1", "text@tokens:3", "text@missing"]),
    "embeddings": ("embeddings", "build", ["text@l2:1", "text@linf:0.2"]),
    "pixels": ("seen", "build", ["image@linf:8", "image@l2:100"]),
    "zero-shot": ("compared", "prompted", ["image@linf:8"]),
}
EXTRAS = {"tokens": ["--corruption", "text@typos:0,3"]}


@pytest.mark.parametrize("name", RUNS)
def test_a_whole_run_is_verified(
    name: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "my.py").write_text(MINE)
    task, model, scenarios = RUNS[name]
    asked = [part for scenario in scenarios for part in ("--scenario", scenario)]
    common = ["--samples", "4", "--witnesses", "all", *EXTRAS.get(name, []), "--out", "run"]
    done = run(monkeypatch, "evaluate", "--task", f"my.py:{task}", "--model", f"my.py:{model}", *asked, *common)
    said = capsys.readouterr().out
    assert done == 0 and re.search(r"clean +1\.000", said) and all(scenario in said for scenario in scenarios)
    done = run(monkeypatch, "verify", "run", "--code", "my.py")
    found = re.search(r"(\d+) witnesses re-checked, \1 hold", capsys.readouterr().out)
    assert done == 0 and found is not None and int(found[1]) > 0


def test_the_page_for_users_runs(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *(f"word{number}" for number in range(VOCABULARY - 14))]
    words += ["a", "fine", "dull", "film", "not", "bad", "at", "all", "never", "again"]
    plain = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    marks = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=plain, **marks).save_pretrained(elsewhere / "mine")
    bert(labels=2).save_pretrained(elsewhere / "mine")
    page = (Path(__file__).parents[3] / "docs" / "your-own-model.md").read_text()
    snippet = next(each for each in re.findall(r"```python\n(.*?)```", page, re.S) if "AutoTokenizer" in each)
    (elsewhere / "hf.py").write_text(snippet.replace("folder/or/name", "mine"))
    line = re.search(r"python -m harness (evaluate --task hf.py:.*)", page)
    assert line is not None
    assert run(monkeypatch, *line[1].split(), "--samples", "4", "--out", "run") == 0
    assert "text@tokens:2" in capsys.readouterr().out
