"""The command line from outside: every bad input is one sentence and exit code 2."""

from pathlib import Path

import pytest

from tests.commandline import own_folder, run

BAD = {
    "--model cncat": "unknown model 'cncat': did you mean concat",
    "--scenario image@linf:-1": "character 12 ('-1'): a radius must be positive",
    "--scenario image@linf": "image@linf:0.5",
    "--scenario image": "does not parse at character 1",
    "--scenario image@l3:1": "did you mean l2",
    "--scenario imag@linf:1": "unknown modality 'imag' in task 'digits': did you mean image",
    "--scenario image@linf:1+image@missing": "named twice",
    "--schedule mcr:0.5": "unknown schedule 'mcr': did you mean mcar",
    "--schedule mcar:1.5": "not between 0 and 1",
    "--schedule fixed(smell):1": "unknown modality 'smell'",
    "--search quick": "known: fast, standard, thorough, blackbox, none",
    "--attack pdg --task my.py:MyTask --model my.py:build": "unknown attack 'pdg': did you mean pgd",
    "--attack torchattacks:PDG --task my.py:MyTask --model my.py:build": (
        "unknown object 'PDG' in torchattacks: did you mean PGD"
    ),
    "--attack pgd?setps=50 --task my.py:MyTask --model my.py:build": (
        "of attack 'pgd?setps=50': did you mean steps? (known: steps)"
    ),
    "--attack pgd?steps --task my.py:MyTask --model my.py:build": "write steps=",
    "--attack pgd?steps=0 --task my.py:MyTask --model my.py:build": (
        "attack 'pgd?steps=0': option steps must be at least 1, not 0"
    ),
    "--attack torchattacks:APGD?steps=-1 --task my.py:MyTask --model my.py:build": (
        "option steps must be at least 1, not -1"
    ),
    "--attack pgd?steps=2.5 --task my.py:MyTask --model my.py:build": "option steps takes a whole number, not '2.5'",
    "--attack torchattacks:PGD?random_start=1 --task my.py:MyTask --model my.py:build": (
        "option random_start takes true or false, not '1'"
    ),
    "--attack torchattacks:PGD?eps=0.1 --task my.py:MyTask --model my.py:build": "unknown option 'eps' of attack",
    "--attack torchattacks:APGD?loss=none --task my.py:MyTask --model my.py:build": (
        "torchattacks' APGD fails on an input of shape"
    ),
    "--attack torchattacks:LGV --task my.py:MyTask --model my.py:build": "LGV needs model and trainloader",
    "--attack torchattacks:APGDT --task my.py:MyTask --model my.py:build": (
        "APGDT needs 4 classes or more for its loss, but the model has 2"
    ),
    "--attack torchattacks:PGD --scenario image@l2:1 --task my.py:MyTask --model my.py:build": (
        "PGD keeps to linf, not to image@l2:1"
    ),
    "--attack my.py:out_of_range --task my.py:MyTask --model my.py:build": (
        "is not an attack: name a function of (objective, region, strength)"
    ),
    "--device cuda": "no CUDA device",
    "--samples 0": "whole number from 1, or all",
    "--witnesses some": "none or all",
    "--budget 5x": "90s, 5m or 2h",
    "--limit nan": "finite",
    "--config nowhere.yaml": "cannot be read",
    "--task my.py:Nothing": "unknown object 'Nothing'",
    "--task my.py": "task 'my.py' is a file: name an object in it, as my.py:NAME",
    "--task zzzzzz": "unknown task 'zzzzzz' (known: digits,",
    "--out=": "out = ''",
    "--task my.py:out_of_range": "modality 'image' has 1 values outside its declared range (they span 3 to 3",
    "--task my.py:with_nan": "holds NaN in 1 samples",
    "--task my.py:MyTask --model my.py:wide": "answers (8, 3), but task 'toy' needs outputs of shape (8, 2)",
    "--task my.py:MyTask --model my.py:nans": "answers NaN or infinity",
    "--task my.py:MyTask --model my.py:counts": "returns torch.int64, which has no gradients",
    "--task my.py:judged_badly --model my.py:build": (
        "fails on the first samples of task 'toy': RuntimeError: no verdict"
    ),
    "--model harness.models.fusion.early:early": "this reference would load it untrained: name it 'early'",
    "--model my.py:borrowed": "this reference would load it untrained",
    "--task my.py:MyTask --model my.py:raises": "ValueError: no weights here",
    "--task my.py:MyTask --model concat": "has no weights for task 'toy'",
    "--task my.py:MyTask --model my.py:build@x.pt": "names weights that do not end in .safetensors: name a checkpoint",
    "--out my.py": "is a file",
    "--out .": "holds files that are not part of a run",
    "--out nowhere/..": "holds files that are not part of a run",
    "--out my.py/run": "cannot be written",
    "--task my.py:MyTask --model my.py:build --samples 2 --out nowhere://run": "cannot be reached",
    "--nonsense 1": "No such option",
    "--scenario image@linf:1+bogus@intact": "unknown modality 'bogus' in task 'digits'",
    "--model only-foo": "unknown modality 'foo' in task 'digits'",
    "--search attacks.pgd:pgd": "a search takes one argument, the search state (known: fast, standard",
    "--seed -1": "seed = -1",
    "--seed 9223372036854775808": "seed = 9223372036854775808",
}
EXTRA = """
def _task(value):
    x = torch.full((20, 3), 0.5)
    x[0, 0] = value
    return Task.from_arrays({"image": x}, torch.arange(20) % 2, ranges={"image": (0, 1)})
def out_of_range(): return _task(3.0)
def with_nan(): return _task(float("nan"))
class Fixed(torch.nn.Module):
    def __init__(self, value, width):
        super().__init__()
        self.value, self.width = value, width
    def forward(self, inputs, present=None):
        return torch.full((len(inputs["image"]), self.width), self.value)
def wide(task): return Fixed(0.0, 3)
def nans(task): return Fixed(float("nan"), 2)
from harness.models.fusion.early import early as borrowed
class Unjudging(type(MyTask().problem)):
    def verdict(self, outputs, targets): raise RuntimeError("no verdict")
def judged_badly():
    from dataclasses import replace
    return replace(MyTask(), problem=Unjudging(2))
def counts(task): return Fixed(1, 2)
def raises(task): raise ValueError("no weights here")
"""


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_sentence(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    own_folder(elsewhere, EXTRA)
    assert run(monkeypatch, "evaluate", *arguments.split(" ")) == 2
    said = capsys.readouterr().err
    assert BAD[arguments] in said
    assert said.startswith("error: ") and "Traceback" not in said and len(said.strip().splitlines()) == 1


BAD_TRAINING = {
    "--model my.py:build": "model 'my.py:build' has no parameters to train",
    "--model my.py:wide_layer": "answers (8, 3), but task 'toy' needs outputs of shape (8, 2)",
    "--model concat --recipe supervsed?learning_rate=1": "unknown recipe 'supervsed': did you mean supervised",
    "--model concat --recipe supervised?learning_rat=1": (
        "of recipe 'supervised?learning_rat=1': did you mean learning_rate"
    ),
    "--model concat --recipe supervised?learning_rate": "write learning_rate=",
    "--model smil?codebook=KMeans": (
        "unknown value 'KMeans' of option codebook of model 'smil?codebook=KMeans': did you mean kmeans"
    ),
    "--model only-image?modality=audio": "unknown option 'modality'",
    "--model concat --device tpu": "unknown device 'tpu'",
    "--model concat --recipe supervised?learning_rate=fast": "option learning_rate takes a number, not 'fast'",
    "--model byol-image --recipe byol?momentum=2": "option momentum must be at least 0 and at most 1, not 2",
    "--model byol-image --recipe byol?epochs=1&epochs=2": "option epochs is given twice: give it once",
    "--model simclr-image --recipe simclr?temperature=-1": "option temperature must be above 0, not -1",
    "--model concat --recipe supervised?learning_rate=0": "option learning_rate must be above 0, not 0",
    "--model concat --seed -1": "--seed -1: give a whole number from 0",
    "--model concat --seed 9223372036854775808": "--seed 9223372036854775808",
    "--model concat --out my.py/m.safetensors": "--out my.py/m.safetensors cannot be written",
    "--model concat --out memory://m.safetensors": "a checkpoint is a local file",
    "--model concat --out folder.safetensors": "is a folder",
    "--model concat --out m.pt": "ends in .safetensors",
    "--model concat --task my.py:two_axes": (
        "modality 'sound' has shape (400, 2) per sample, which looks like (T, C): give waveforms (T,)"
    ),
    "--model early --task my.py:short": "modality 'sound' has shape (100,), but the audio encoder takes waveforms (T,)",
    "--model concat --task my.py:outside": "task name '../x/y'",
}
TRAINED = """
def _sounds(*shape):
    return Task.from_arrays({"sound": torch.zeros(20, *shape)}, torch.arange(20) % 2, kinds={"sound": "audio"})
def two_axes(): return _sounds(400, 2)
def short(): return _sounds(100)
def outside(): return Task.from_arrays({"x": torch.zeros(20, 2)}, torch.arange(20) % 2, name="../x/y")
class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(16, 3)
    def forward(self, inputs, present=None):
        return self.layer(inputs["image"])
def wide_layer(task): return Layer()
"""


@pytest.mark.parametrize("arguments", BAD_TRAINING)
def test_bad_training_is_refused_before_it_begins(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    own_folder(elsewhere, TRAINED)
    (elsewhere / "folder.safetensors").mkdir()
    assert run(monkeypatch, "train", "--task", "my.py:MyTask", *arguments.split(" ")) == 2
    told = capsys.readouterr()
    assert BAD_TRAINING[arguments] in told.err and "epochs" not in told.out
    assert told.err.startswith("error: ") and len(told.err.strip().splitlines()) == 1
