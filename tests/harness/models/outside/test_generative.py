"""Generative networks of Hugging Face: they read and say what they do with their own processor, and
the leads of an answer agree with what is decoded.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

pytest.importorskip("transformers")

from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

import harness
from attacks.errors import BadInput
from harness.models.outside.huggingface import adapted
from harness.models.outside.image_processor import Processed
from harness.tasks import Modality, Task
from harness.tasks.files.dataroot import VARIABLE, data_root
from harness.tasks.prompts import prompt_task
from tests import picturefiles
from tests.commandline import run
from tests.harness.models.outside.answering_networks import COUNT, LENGTH, made
from tests.harness.models.outside.generative_networks import NETWORKS

SIZES = [
    (31, 47),
    (224, 224),
    (97, 53),
    (336, 200),
    (480, 640),
    (225, 223),
    (17, 300),
    (301, 299),
    (64, 64),
    (600, 128),
]
PROCESSORS: dict[str, Any] = {
    "CLIP's": CLIPImageProcessorPil(),
    "CLIP's at 336": CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
    "SigLIP's": SiglipImageProcessorPil(),
    "SigLIP's, bilinear": SiglipImageProcessorPil(resample=2, size={"height": 64, "width": 96}),
    "SigLIP's, Lanczos": SiglipImageProcessorPil(resample=1),
    "LLaVA's, to a square": LlavaImageProcessorPil(do_pad=True),
    "LLaVA's, cropped only": LlavaImageProcessorPil(do_resize=False),
    "Idefics3's": Idefics3ImageProcessorPil(size={"longest_edge": 728}),
    "Idefics3's, one tile": Idefics3ImageProcessorPil(do_image_splitting=False),
    "Idefics3's, small tiles": Idefics3ImageProcessorPil(
        size={"longest_edge": 90}, max_image_size={"longest_edge": 40}
    ),
    "CLIP's, not normalised": CLIPImageProcessorPil(do_normalize=False),
}


def photographs() -> list[Image.Image]:
    """Real ones, where the data are there, and noise."""
    root = data_root()
    found = sorted(Path(root, "bccd").rglob("*.jp*g"))[: len(SIZES)] if root else []
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    return [*(Image.open(each).convert("RGB") for each in found), Image.fromarray(noise)]


@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_are_those_of_the_processor(name: str) -> None:
    processor = PROCESSORS[name]
    for number, (height, width) in enumerate(SIZES):
        picture = (some := photographs())[number % len(some)].resize((width, height))
        wanted = torch.as_tensor(processor(images=picture, return_tensors="pt")["pixel_values"])
        module = Processed(Modality("image", (3, height, width), "image", 0, 255), processor)
        raw = torch.from_numpy(np.array(picture)).movedim(-1, 0)[None].float().requires_grad_()
        found = module.pixels(raw)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
        found.sum().backward()
        assert raw.grad is not None and bool(raw.grad.isfinite().all()) and bool((raw.grad != 0).any())


def plain_prompt(processor: Any, template: str | None, question: str) -> str:
    if template is not None:
        return template.format(question=question)
    content = [{"type": "image"}, {"type": "text", "text": question}]
    return str(processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True))


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of PaliGemma's own processor
@pytest.mark.parametrize("family", NETWORKS)
def test_it_says_what_the_network_says_with_its_own_processor(family: str) -> None:
    network, processor, task, template = made(family)
    speaker, batch = adapted(network, task, processor).network, task.splits["test"].take(range(COUNT))
    said = speaker.generate(speaker.embed_prompt(batch.inputs, None), LENGTH)
    own = batch.inputs["question"].argmax(-1, keepdim=True)
    asked = batch.inputs["question-candidates"].gather(-1, own).squeeze(-1)
    for row in range(16):
        words = asked[row][batch.inputs["question"][row, :, 0] == 0].tolist()
        text = plain_prompt(processor, template, processor.tokenizer.decode(words))
        picture = batch.inputs["image"][row].byte().movedim(0, -1).numpy()
        given = processor(images=[picture], text=[text], return_tensors="pt")
        keys = ("input_ids", "attention_mask", "pixel_values", "token_type_ids")
        whole = network.generate(
            **{key: given[key] for key in keys if key in given}, max_new_tokens=LENGTH, do_sample=False
        )
        answer = whole[0, given["input_ids"].shape[1] :]
        assert answer.tolist() == said[row, : len(answer)].tolist()


@pytest.mark.parametrize("family", NETWORKS)
def test_it_is_evaluated(family: str) -> None:
    network, processor, first, _ = made(family)
    with torch.no_grad():
        outputs = adapted(network, first, processor)(first.splits["test"].take(range(COUNT)).inputs)
    said = first.problem.texts(first.problem.predictions(outputs))  # type: ignore[attr-defined]
    assert len(set(said)) > 8, "answers depend on what is asked and seen"
    found = harness.evaluate(first, {"net": adapted(network, first, processor)}, samples=8, search="fast", trust=False)
    assert found.status == "complete" and set(found.ledger.status) == {"ok"}


@pytest.mark.parametrize("family", NETWORKS)
def test_a_missing_question_has_no_influence_and_the_template_has(family: str) -> None:
    """Other questions about the same images, of other lengths, some behind which nothing stands."""
    network, processor, task, _ = made(family)
    model, inputs = adapted(network, task, processor), dict(task.splits["test"].take(range(8)).inputs)
    present = torch.ones(8, 2, dtype=torch.bool)
    present[:, task.names.index("question")] = False
    others = inputs | {name: x.roll(1, 0) for name, x in inputs.items() if name.startswith("question")}
    with torch.no_grad():
        torch.testing.assert_close(model(inputs, present), model(others, present), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(model(inputs, present), model(inputs), atol=1e-2)
        kept = model.network.embed_prompt(inputs, present)["attended"].sum(1)
    template = [len(row[row >= 0]) for row in inputs["question-prompt"]]
    own = (inputs["question-candidates"][..., 1] != inputs["question-candidates"][..., 0]).sum(1)
    assert kept.tolist() == [length - words for length, words in zip(template, own.tolist(), strict=True)]


@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.parametrize("family", NETWORKS)
def test_every_end_token_of_the_network_ends_a_text(family: str) -> None:
    network, processor, task, _ = made(family)
    other = copy.deepcopy(network)
    written = said_by(adapted(network, task, processor), task, 16)
    common = max((int(token) for token in written.flatten()), key=lambda token: int((written == token).sum()))
    speaks = other.language_model if hasattr(other, "language_model") and family == "blip-2" else other
    for each in (other, speaks):
        each.generation_config.eos_token_id = [2, common]
    ended = said_by(adapted(other, task, processor), task, 16)
    assert bool((written == common).any()) and not bool((ended == common).any())
    for old, new in zip(written.tolist(), ended.tolist(), strict=True):
        stop = next((at for at, token in enumerate(old) if token in (2, common)), LENGTH)
        assert new[:stop] == old[:stop] and (stop == LENGTH or new[stop] == 2)


def said_by(model: Any, task: Task, rows: int) -> Tensor:
    inputs = task.splits["test"].take(range(rows)).inputs
    with torch.no_grad():
        tokens: Tensor = model.network.generate(model.network.embed_prompt(inputs, None), LENGTH)
    return tokens


def test_a_template_may_begin_a_text_and_repeat_the_question_s_words() -> None:
    network, processor, _, _ = made("llava")
    table, images = network.get_input_embeddings().weight, np.zeros((1, 3, 8, 8), np.float32)
    given: dict[str, Any] = {"splits": "test", "name": "asked", "template": "<s> <image> {question} : yes no yes"}
    batch = prompt_task(processor, images, ["yes"], [["no"]], table, **given).splits["test"]
    prompt = batch.inputs["question-prompt"][0].tolist()
    assert prompt.count(processor.tokenizer.bos_token_id) == 1
    own = batch.inputs["question-candidates"][0, :, 1] != batch.inputs["question-candidates"][0, :, 0]
    yes = processor.tokenizer.convert_tokens_to_ids("yes")
    assert own.nonzero().flatten().tolist() == [prompt.index(yes)]


def test_no_word_becomes_the_token_of_an_image() -> None:
    for family in NETWORKS:
        network, _, task, _ = made(family)
        candidates = task.splits["test"].take(range(COUNT)).inputs["question-candidates"]
        assert not bool((candidates == network.config.image_token_id).any()), family


@pytest.mark.parametrize(
    ("option", "value"), [("repetition_penalty", 1.2), ("suppress_tokens", [3]), ("min_length", 4)]
)
def test_options_that_change_logits_are_refused_by_name(option: str, value: Any) -> None:
    network, processor, task, _ = made("llava")
    before = getattr(network.generation_config, option)
    setattr(network.generation_config, option, value)
    try:
        with pytest.raises(BadInput, match=rf"has {option}=.*: set network.generation_config.{option}"):
            adapted(network, task, processor)
    finally:
        setattr(network.generation_config, option, before)


def test_what_a_processor_does_beyond_is_refused() -> None:
    image = Modality("image", (3, 20, 24), "image", 0, 255)
    tiling = CLIPImageProcessorPil()
    tiling.do_image_splitting = True
    with pytest.raises(BadInput, match=r"has do_image_splitting, which is not repeated here: switch it off"):
        Processed(image, tiling)
    with pytest.raises(BadInput, match=r"resizes to .*, which is not repeated here"):
        Processed(image, SiglipImageProcessorPil(size={"shortest_edge": 10, "longest_edge": 20}))
    with pytest.raises(BadInput, match=r"has 1 channels: .* takes 3 of colour"):
        Processed(
            Modality("image", (1, 20, 24), "image", 0, 255), CLIPImageProcessorPil(image_mean=[0.5], image_std=[0.5])
        )


@pytest.mark.parametrize("place", ["image_grid_thw", "image_sizes"])
def test_a_network_that_needs_the_places_of_patches_is_refused(place: str) -> None:
    """As Qwen2-VL and LLaVA-OneVision do."""
    network, processor, task, _ = made("llava")
    other = copy.deepcopy(network)
    other.get_image_features = eval(f"lambda pixel_values, {place}=None: None")
    with pytest.raises(BadInput, match=f"reads an image with its {place}, which is not supported here: take LLaVA"):
        adapted(other, task, processor)


def test_bad_prompts_are_one_sentence() -> None:
    network, processor, _, _ = made("llava")
    table, x = network.get_input_embeddings().weight, np.zeros((2, 3, 8, 8), np.float32)
    for questions, images, options, why in [
        (["how", " "], x, {}, "a question is empty"),
        (["how"], x, {}, "for 1 questions and 2 lists of answers"),
        (["how", "many"], x[:, :1], {}, r"images have shape \(2, 1, 8, 8\)"),
        (["how", "many"], x, {"template": "<image> ?"}, "has no single {question}"),
        (["how", "many"], x, {"template": "<image> <image> {question}"}, "write one image in the template"),
    ]:
        with pytest.raises(BadInput, match=why):
            prompt_task(processor, images, questions, [["red"], ["two"]], table, **options)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"there is the text 'red' in place of a list of answers: give a list"):
        prompt_task(processor, x, ["how", "many"], ["red", "two"], table)
    with pytest.raises(BadInput, match=r"there is no question: give a list"):
        prompt_task(processor, x[:0], [], [], table)


@pytest.fixture
def examples(elsewhere: Path) -> list[str]:
    """Those of the docs for networks with weights, with a tiny random network in their place."""
    page = (Path(__file__).parents[4] / "docs" / "answers.md").read_text()
    found = [each for each in re.findall(r"```python\n(.*?)```", page, re.S) if "prompt_task" in each]
    (given,) = [line for line in found[0].splitlines() if line.startswith("network, processor =")]
    small = "from tests.harness.models.outside.generative_networks import llava\nnetwork, processor, _ = llava()"
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (64, 48), "red").save(elsewhere / name)
    return [found[0].replace(given, small), *found[1:]]


FEW = ("--samples", "2", "--search", "fast", "--no-trust", "--schedule", "none", "--out", "run")
BOTH = ("--scenario", "image@linf:2 + question@tokens:1")


def test_the_example_of_the_docs_runs(examples: list[str], elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "vlm.py").write_text(examples[0])
    assert run(monkeypatch, "evaluate", "--task", "vlm.py:Questions", "--model", "vlm.py:build", *FEW, *BOTH) == 0


def test_published_questions_are_asked_as_in_the_docs(
    examples: list[str], elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picturefiles.WRITERS["pope"](elsewhere / "data" / "pope")
    monkeypatch.setenv(VARIABLE, str(elsewhere / "data"))
    first, second = examples
    (elsewhere / "vlm.py").write_text(first + second.replace("336", "40"))
    assert run(monkeypatch, "evaluate", "--task", "vlm.py:Questions", "--model", "vlm.py:build", *FEW, *BOTH) == 0
    samples = harness.load("run").directory.table("samples").to_pandas()
    assert (
        set(samples.target) <= {"yes", "no"}
        and [each.partition("-")[0] for each in samples["sample"]] == samples.group.tolist()
    )
