"""Networks that were written for something else, each in at most twelve lines: it is built,
wrapped where its way is not plain, and attacked.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.models.outside.huggingface import adapted
from harness.tasks import Classification, Task
from tests.harness.models.outside import test_sound_networks
from tests.tinynetworks import LABELS, PROCESSOR, SIDE, SMALL, VOCABULARY, bert, clip, vit

COUNT, LINES = 4, 12
BUILDERS: dict[str, Callable[[], tuple[Task, Any]]] = {}
Builder = Callable[[], tuple[Task, Any]]


def outside(build: Builder) -> Builder:
    BUILDERS[build.__name__] = build
    return build


def draw(*shape: int) -> Tensor:
    return torch.rand(COUNT, *shape, generator=torch.Generator().manual_seed(len(shape)))


def task_of(inputs: dict[str, Tensor], extra: dict[str, Tensor] | None = None) -> Task:
    kinds = {"image": "image", "sound": "audio", "film": "video"}
    own = {name: kind for name, kind in kinds.items() if name in inputs}
    return Task.from_arrays(
        inputs, torch.arange(COUNT) % LABELS, kinds=own, ranges=dict.fromkeys(own, (0, 1)), sample_rate=16_000,
        problem=Classification(LABELS), splits="test", extra_inputs=extra,
    )  # fmt: skip


def images() -> dict[str, Tensor]:
    return {"image": draw(3, SIDE, SIDE)}


def pair() -> dict[str, Tensor]:
    return {"image": draw(3, SIDE, SIDE), "sensor": draw(5)}


class Encoders(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image, self.sensor, self.head = nn.Linear(3 * SIDE**2, 8), nn.Linear(5, 8), nn.Linear(16, LABELS)

    def both(self, image: Tensor, sensor: Tensor) -> Tensor:
        fused: Tensor = self.head(torch.cat([self.image(image.flatten(1)), self.sensor(sensor)], 1).relu())
        return fused


@outside
def multibench_fusion() -> tuple[Task, Any]:
    class MMDL(Encoders):
        def forward(self, inputs: Any, training: bool = False) -> Tensor:
            return self.both(inputs[0], inputs[1])

    return task_of(pair()), MMDL()


@outside
def keywords() -> tuple[Task, Any]:
    class Net(Encoders):
        def forward(self, sensor: Tensor, image: Tensor) -> Tensor:
            return self.both(image, sensor)

    return task_of(pair()), Net()


@outside
def any_keywords() -> tuple[Task, Any]:
    class Net(Encoders):
        def forward(self, **batch: Tensor) -> Tensor:
            return self.both(batch["image"], batch["sensor"])

    return task_of(pair()), Net()


@outside
def positional() -> tuple[Task, Any]:
    class Net(Encoders):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.both(x, y)

    return task_of(pair()), Net()


@outside
def one_dictionary() -> tuple[Task, Any]:
    class Net(Encoders):
        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            return self.both(batch["image"], batch["sensor"])

    return task_of(pair()), Net()


@outside
def answers_in_a_tuple() -> tuple[Task, Any]:
    class Net(Encoders):
        def forward(self, image: Tensor, sensor: Tensor) -> tuple[Tensor, Tensor]:
            return self.image(image.flatten(1)), self.both(image, sensor)

    return task_of(pair()), Net()


@outside
def answers_in_a_dictionary() -> tuple[Task, Any]:
    class Net(Encoders):
        def forward(self, image: Tensor, sensor: Tensor) -> dict[str, Tensor]:
            return {"hidden": self.sensor(sensor), "logits": self.both(image, sensor)}

    return task_of(pair()), Net()


@outside
def features_of_another_layout() -> tuple[Task, Any]:
    return task_of({"sequence": draw(5, 4)}), harness.wrap(
        nn.Sequential(nn.Flatten(), nn.Linear(20, LABELS)),
        call=lambda net, inputs: net(inputs["sequence"].transpose(1, 2)),
    )


@outside
def lstm() -> tuple[Task, Any]:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, LABELS)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    return task_of({"sequence": draw(5, 4)}), Net()


@outside
def one_image() -> tuple[Task, Any]:
    return task_of(images()), nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, LABELS))


@outside
def torchscript() -> tuple[Task, Any]:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, LABELS))
    return task_of(images()), torch.jit.trace(network, images()["image"])


@outside
def compiled_wrapper() -> tuple[Task, Any]:
    return task_of(images()), nn.DataParallel(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, LABELS)))


@outside
def vit_by_its_pixels() -> tuple[Task, Any]:
    return task_of(images()), harness.wrap(vit(), call=lambda net, inputs: net(pixel_values=inputs["image"]))


@outside
def vit_adapted() -> tuple[Task, Any]:
    task = task_of(images())
    return task, adapted(vit(), task, PROCESSOR)


@outside
def bert_by_its_embeddings() -> tuple[Task, Any]:
    task = task_of({"words": draw(6, SMALL["hidden_size"])})
    return task, harness.wrap(bert(), call=lambda net, inputs: net(inputs_embeds=inputs["words"]))


@outside
def clip_with_a_head() -> tuple[Task, Any]:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.clip, self.head = clip(), nn.Linear(SMALL["hidden_size"], LABELS)

        def forward(self, image: Tensor) -> Tensor:
            return self.head(self.clip.vision_model(pixel_values=image).pooler_output)

    return task_of(images()), Net().eval()


@outside
def vilt() -> tuple[Task, Any]:
    from transformers import ViltConfig, ViltForQuestionAnswering

    config = ViltConfig(**SMALL, image_size=SIDE, patch_size=4, vocab_size=VOCABULARY, num_labels=LABELS)
    ids = {"ids": torch.randint(3, VOCABULARY, (COUNT, 6))}
    return task_of(images(), ids), harness.wrap(
        ViltForQuestionAnswering(config).eval(), lambda net, x: net(input_ids=x["ids"], pixel_values=x["image"])
    )


@outside
def visual_bert() -> tuple[Task, Any]:
    from transformers import VisualBertConfig, VisualBertForQuestionAnswering

    config = VisualBertConfig(**SMALL, vocab_size=VOCABULARY, visual_embedding_dim=12, num_labels=LABELS)
    ids = {"ids": torch.randint(3, VOCABULARY, (COUNT, 6))}
    mask = torch.ones(1, 6, dtype=torch.long)
    return task_of({"regions": draw(3, 12)}, ids), harness.wrap(
        VisualBertForQuestionAnswering(config).eval(),
        lambda net, x: net(
            input_ids=x["ids"], attention_mask=mask.expand(len(x["ids"]), 6), visual_embeds=x["regions"]
        ),
    )


@outside
def flava() -> tuple[Task, Any]:
    from transformers import FlavaConfig, FlavaModel

    sides = {"text_config": {**SMALL, "vocab_size": VOCABULARY}, "multimodal_config": SMALL}
    config = FlavaConfig(**sides, image_config={**SMALL, "image_size": SIDE, "patch_size": 4}, **SMALL)
    ids, network = {"ids": torch.randint(3, VOCABULARY, (COUNT, 6))}, nn.ModuleList([FlavaModel(config).eval()])
    network.append(nn.Linear(SMALL["hidden_size"], LABELS))

    def answer(net: nn.ModuleList, x: dict[str, Tensor]) -> Tensor:
        return net[1](net[0](input_ids=x["ids"], pixel_values=x["image"]).multimodal_embeddings[:, 0])

    return task_of(images(), ids), harness.wrap(network, answer)


@outside
def perceiver() -> tuple[Task, Any]:
    from transformers import PerceiverConfig, PerceiverModel

    small = {"num_latents": 4, "d_latents": 8, "num_blocks": 1, "num_self_attends_per_block": 1}
    config = PerceiverConfig(**small, d_model=12, num_self_attention_heads=2, num_cross_attention_heads=2)
    network = nn.Sequential(PerceiverModel(config).eval())
    head = nn.Linear(8, LABELS)
    network.append(head)
    return task_of({"tokens": draw(6, 12)}), harness.wrap(
        network, lambda net, x: head(net[0](inputs=x["tokens"]).last_hidden_state.mean(1))
    )


@outside
def lightning() -> tuple[Task, Any]:
    pl = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")

    class Net(pl.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, LABELS))

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    return task_of(images()), Net()


def sound_of(name: str) -> Builder:
    def build() -> tuple[Task, Any]:
        task = task_of({"sound": draw(test_sound_networks.LENGTH)})
        network, extractor = (make() for make in test_sound_networks.NETWORKS[name])
        return task, adapted(network.eval(), task, extractor)

    return build


BUILDERS |= {name: sound_of(name) for name in test_sound_networks.NETWORKS}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", BUILDERS)
def test_it_is_attacked_as_it_comes(name: str) -> None:
    torch.manual_seed(0)
    task, model = BUILDERS[name]()
    attacked = task.names[0]
    options: dict[str, Any] = {"search": "none", "attacks": ["pgd?steps=2"], "schedules": ["none"], "trust": False}
    found = harness.evaluate(task, {name: model}, scenarios=[f"{attacked}@linf:0.05"], **options)
    assert found.status == "complete" and not found.errors
    assert ((found.ledger["gradients"] > 0) | (found.ledger["strength"] == 0)).all(), "0 where it is wrong untouched"


def test_each_takes_few_lines() -> None:
    bodies = {name: inspect.getsource(build).splitlines()[2:] for name, build in BUILDERS.items()}
    assert all(len([line for line in body if line.strip()]) <= LINES for body in bodies.values())
    assert len(BUILDERS) >= 20
