"""Networks of Hugging Face as models: outputs equal the network's own, gradients reach the inputs,
and missing inputs are not read.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from attacks.errors import BadInput
from harness.models.outside.huggingface import EXTRA, adapted, pretrained
from harness.models.outside.readers import normalisation
from harness.tasks import Classification, Task
from harness.tasks.tokens import embedding_task, nearest, token_task
from tests.tinynetworks import (
    LABELS,
    PAD,
    POSITIONS,
    PROCESSOR,
    SIDE,
    SPECIAL,
    VOCABULARY,
    WIDTH,
    bert,
    encoded,
    pixels,
    seen,
    vit,
)


def labels(network: nn.Module, **arguments: Tensor) -> Tensor:
    """The output of the bare network."""
    with torch.no_grad():
        return network(**arguments).logits.argmax(1)


def chosen(network: nn.Module, texts: dict[str, Tensor], count: int = 4) -> Task:
    near = nearest(network.get_input_embeddings().weight, texts["input_ids"], count, SPECIAL)
    problem = Classification(LABELS)
    return token_task(
        texts,
        labels(network, **texts),
        near,
        special=SPECIAL,
        pad=PAD,
        problem=problem,
        splits=["train", "val", "test"] * 10,
    )


def embedded(network: nn.Module, texts: dict[str, Tensor]) -> Task:
    weight, problem = network.get_input_embeddings().weight, Classification(LABELS)
    return embedding_task(
        texts, labels(network, **texts), weight, special=SPECIAL, problem=problem, splits=["train", "val", "test"] * 10
    )


def leftwards(texts: dict[str, Tensor]) -> dict[str, Tensor]:
    """The texts with their padding first."""
    order = texts["attention_mask"].argsort(dim=1, stable=True)
    return {key: x.gather(1, order) for key, x in texts.items()}


TEXTS: dict[str, Callable[[nn.Module, dict[str, Tensor]], Task]] = {"tokens": chosen, "embeddings": embedded}


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_clean_is_the_bare_network(make: Callable[..., Task]) -> None:
    network, texts = bert(), encoded()
    task = make(network, texts)
    test = task.splits["test"]
    rows = [int(sample) for sample in test.samples]
    bare = network(input_ids=texts["input_ids"][rows], attention_mask=texts["attention_mask"][rows]).logits
    torch.testing.assert_close(adapted(network, task)(test.inputs), bare, atol=1e-5, rtol=0)


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_token_types_reach_the_network(make: Callable[..., Task]) -> None:
    network, texts = bert(), encoded()
    types = (torch.arange(POSITIONS) > 1).long().expand(30, -1) * texts["attention_mask"]
    task = make(network, {**texts, "token_type_ids": types})
    test = task.splits["test"]
    rows = [int(sample) for sample in test.samples]
    bare = network(**{key: x[rows] for key, x in {**texts, "token_type_ids": types}.items()}).logits
    torch.testing.assert_close(adapted(network, task)(test.inputs), bare, atol=1e-5, rtol=0)
    assert not torch.allclose(bare, network(**{key: x[rows] for key, x in texts.items()}).logits, atol=1e-2)


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_gradients_reach_what_may_move_and_no_padding_counts(make: Callable[..., Task]) -> None:
    network = bert()
    task = make(network, encoded())
    test, model = task.splits["test"], adapted(network, task)
    x = test.inputs["text"].clone().requires_grad_()
    model({**test.inputs, "text": x}).square().sum().backward()
    assert x.grad is not None
    assert x.grad[test.valid["text"]].flatten(1).abs().sum(1).min() > 0 and not x.grad[~test.valid["text"]].any()
    valid = task.bounds(test)["text"].over(x)
    movable = (torch.as_tensor(valid.low) < torch.as_tensor(valid.high)).flatten(2).any(2)
    rows = [int(sample) for sample in test.samples]
    assert torch.equal(movable, ~torch.isin(encoded()["input_ids"][rows], torch.tensor(SPECIAL)))


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_a_missing_text_has_no_influence(make: Callable[..., Task]) -> None:
    network = bert()
    texts = encoded() | {"token_type_ids": (torch.arange(POSITIONS) > 1).long().expand(30, -1)}
    task = make(network, texts)
    test, model = task.splits["test"], adapted(network, task)
    outputs = model(test.inputs, torch.zeros(len(test), 1, dtype=torch.bool))
    assert bool(outputs.isfinite().all()) and torch.equal(outputs, outputs[:1].expand_as(outputs))
    assert torch.equal(model(test.inputs, torch.ones(len(test), 1, dtype=torch.bool)), model(test.inputs))
    filled = task.with_stand_ins(test.inputs, torch.zeros(len(test), 1, dtype=torch.bool))
    assert torch.equal(model(filled, torch.zeros(len(test), 1, dtype=torch.bool)), outputs)


def test_another_choice_is_another_token() -> None:
    network, texts = bert(), encoded()
    task = chosen(network, texts)
    test = task.splits["test"]
    x, ids = test.inputs["text"].clone(), texts["input_ids"][[int(sample) for sample in test.samples]].clone()
    x[:, 1] = torch.eye(6)[3]
    ids[:, 1] = test.inputs["text-candidates"][:, 1, 3]
    bare = network(input_ids=ids, attention_mask=(ids != PAD).long()).logits
    torch.testing.assert_close(adapted(network, task)({**test.inputs, "text": x}), bare, atol=1e-5, rtol=0)


class Widths(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        for x in made if isinstance(made, tuple | list) else [made]:
            if isinstance(x, Tensor) and VOCABULARY_LARGE in x.shape:
                assert x.ndim == 2, f"{func} makes {tuple(x.shape)}"  # the table itself
            if isinstance(x, Tensor):
                self.most = max(self.most, x.numel())
        return made


VOCABULARY_LARGE = 50_021


def test_nothing_as_wide_as_the_vocabulary_is_made() -> None:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        vocab_size=VOCABULARY_LARGE,
        num_labels=LABELS,
    )
    network = BertForSequenceClassification(config).eval().requires_grad_(False)
    texts = encoded()
    task = chosen(network, texts)
    test, model = task.splits["test"], adapted(network, task)
    x = test.inputs["text"].clone().requires_grad_()
    with Widths() as widths:
        torch.autograd.grad(model({**test.inputs, "text": x}).sum(), x)
    assert 0 < widths.most < VOCABULARY_LARGE


@pytest.mark.parametrize("high", [255.0, 1.0])
def test_pixels_are_normalised_as_the_processor_does(high: float) -> None:
    from transformers import ViTImageProcessorPil

    network, task = vit(), seen(vit(), high)
    processor = ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]
    )
    model, test = adapted(network, task, processor), task.splits["test"]
    raw = (test.inputs["image"] / high * 255).round().to(torch.uint8)
    prepared = processor(list(raw.numpy()), return_tensors="pt", input_data_format="channels_first")["pixel_values"]
    torch.testing.assert_close(model.arguments(test.inputs)["pixel_values"], prepared, atol=1e-5, rtol=0)
    torch.testing.assert_close(model(test.inputs), network(pixel_values=prepared).logits, atol=1e-5, rtol=0)


def test_a_step_is_in_raw_pixels() -> None:
    network, task = vit(), seen(vit())
    model, test = adapted(network, task, PROCESSOR), task.splits["test"]
    assert task.modality("image").ball == "linf:8"
    moved = {"image": test.inputs["image"] + 1}
    rise = model.arguments(moved)["pixel_values"] - model.arguments(test.inputs)["pixel_values"]
    step = 1 / 255 / torch.tensor(PROCESSOR.image_std).reshape(-1, 1, 1)
    torch.testing.assert_close(rise, step.expand_as(rise), atol=1e-5, rtol=0)
    x = test.inputs["image"].clone().requires_grad_()
    model({"image": x}).square().sum().backward()
    assert x.grad is not None and bool((x.grad != 0).all())


def test_a_missing_image_has_no_influence() -> None:
    network, task = vit(), seen(vit())
    outputs = adapted(network, task, PROCESSOR)(task.splits["test"].inputs, torch.zeros(10, 1, dtype=torch.bool))
    assert torch.equal(outputs, outputs[:1].expand_as(outputs))


def test_a_text_and_an_image_of_one_network() -> None:
    from transformers import ViltConfig, ViltForImagesAndTextClassification, ViltModel

    class Vilt(nn.Module):
        """ViLT with a head on its pooled output."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            small = {"hidden_size": WIDTH, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
            self.vilt = ViltModel(
                ViltConfig(**small, vocab_size=VOCABULARY, image_size=SIDE, patch_size=4, max_image_length=-1)
            )
            self.head = nn.Linear(WIDTH, LABELS)

        def get_input_embeddings(self) -> nn.Module:
            return self.vilt.get_input_embeddings()

        def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, pixel_values=None):  # type: ignore[no-untyped-def]
            said = self.vilt(
                input_ids=input_ids,
                attention_mask=attention_mask,
                inputs_embeds=inputs_embeds,
                pixel_values=pixel_values,
            )
            return SimpleNamespace(logits=self.head(said.pooler_output))

    assert ViltForImagesAndTextClassification  # its own head takes several images, so ours stands in
    network, texts = Vilt().eval(), encoded()
    near = nearest(network.get_input_embeddings().weight, texts["input_ids"], 4, SPECIAL)
    options = {"kinds": {"image": "image"}, "ranges": {"image": (0, 255)}, "problem": Classification(LABELS)}
    task = token_task(
        texts, torch.arange(30) % LABELS, near, special=SPECIAL, pad=PAD, also={"image": pixels()}, **options
    )
    assert task.names == ("text", "image")
    model, test = adapted(network, task, PROCESSOR), task.splits["test"]
    other = {
        **test.inputs,
        "text": test.inputs["text"].roll(1, 0),
        "text-candidates": test.inputs["text-candidates"].roll(1, 0),
    }
    present = torch.tensor([False, True]).expand(len(test), 2)

    def answers(inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        torch.manual_seed(0)  # this network draws the order of an image's patches, and sums round by it
        answered: Tensor = model(inputs, present)
        return answered

    assert torch.equal(answers(test.inputs, present), answers(other, present))
    assert not torch.allclose(answers(test.inputs), answers(other))


def test_weights_come_from_safetensors_and_no_pickle(tmp_path: Path) -> None:
    network = bert()
    network.save_pretrained(tmp_path / "safe")
    again = pretrained("AutoModelForSequenceClassification", str(tmp_path / "safe"))
    assert all(
        torch.equal(x, y) for x, y in zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    )
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text((tmp_path / "safe" / "config.json").read_text())
    torch.save(network.state_dict(), tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(BadInput, match="weights as safetensors"):
        pretrained("AutoModelForSequenceClassification", str(tmp_path / "pickled"))
    network.bert.save_pretrained(tmp_path / "headless")
    with pytest.raises(
        BadInput, match=r"has no weights for classifier\.bias, which AutoModelForSequenceClassification needs"
    ):
        pretrained("AutoModelForSequenceClassification", str(tmp_path / "headless"))
    with pytest.raises(BadInput, match="did you mean AutoModelForSequenceClassification"):
        pretrained("AutoModelForSequenceClasification", str(tmp_path / "safe"))


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BadInput) as error:
        pretrained("AutoModel", "any")
    assert EXTRA in str(error.value)


def test_what_does_not_fit_is_one_sentence() -> None:
    from transformers import GPT2Config, GPT2ForSequenceClassification

    texts = encoded()
    task = chosen(bert(), texts)
    with pytest.raises(BadInput, match=r"returns \(2,\) logits per sample and task 'arrays' has 3 classes"):
        adapted(bert(labels=2), task)
    with pytest.raises(BadInput, match="becomes pixel_values, which BertForSequenceClassification does not take"):
        adapted(bert(), seen(vit()), PROCESSOR)
    with pytest.raises(BadInput, match="pass the network's image processor"):
        adapted(vit(), seen(vit()))
    with pytest.raises(BadInput, match="kind features is not read here"):
        adapted(vit(), Task.from_arrays({"x": torch.rand(30, 2)}, torch.arange(30) % 3))
    with pytest.raises(BadInput, match="embeds 40: use the network's own tokenizer"):
        task.splits["test"].inputs["text-candidates"][0, 0, 0] = VOCABULARY
        adapted(bert(), task)
    two = {"left": pixels(), "right": pixels()}
    options = {"kinds": dict.fromkeys(two, "image"), "ranges": dict.fromkeys(two, (0, 255))}
    with pytest.raises(BadInput, match="modalities 'left' and 'right' both become pixel_values"):
        adapted(vit(), Task.from_arrays(two, torch.arange(30) % LABELS, **options), PROCESSOR)
    with pytest.raises(BadInput, match=r"BertModel returns BaseModelOutputWithPooling.* without logits"):
        adapted(bert().bert, chosen(bert(), texts))
    raw = Task.from_arrays({"image": torch.randn(30, 3, SIDE, SIDE)}, torch.arange(30) % 3, kinds={"image": "image"})
    with pytest.raises(BadInput, match=r"give raw pixels with ranges=\{'image': \(0, 255\)\}"):
        adapted(vit(), raw, PROCESSOR)
    config = GPT2Config(
        n_embd=16,
        n_layer=1,
        n_head=2,
        vocab_size=VOCABULARY,
        n_positions=16,
        num_labels=3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    network = GPT2ForSequenceClassification(config).eval()
    for make in TEXTS.values():
        with pytest.raises(BadInput, match="pad on the left"):
            adapted(network, make(network, texts))
        made = make(network, leftwards(texts))
        none = adapted(network, made)(made.splits["test"].inputs, torch.zeros(10, 1, dtype=torch.bool))
        assert bool(none.isfinite().all()) and torch.equal(none, none[:1].expand_as(none))
    with pytest.raises(BadInput, match="answers embeddings differently from their ids"):
        adapted(bert(), embedded(network, texts))  # another network's embeddings
    with pytest.raises(BadInput, match="rescale_offset"):
        normalisation(SimpleNamespace(rescale_offset=True))
    with pytest.raises(BadInput, match="has no image_std"):
        normalisation(SimpleNamespace(rescale_factor=1.0, image_mean=[0.0], image_std=None))
    assert normalisation(SimpleNamespace(image_processor=SimpleNamespace(do_rescale=False, do_normalize=False))) == (
        [0.0],
        [1.0],
        1.0,
    )
