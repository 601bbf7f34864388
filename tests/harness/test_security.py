"""Runs, checkpoints and settings from elsewhere are data: they run no code and lead to no other
place.
"""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from attacks.errors import BadInput
from harness.engine.loading import load_model
from harness.models import checkpoint
from harness.references.code_consent import permitted
from harness.reporting.report import as_markdown, render
from harness.run.config import Evaluation, resolve
from harness.run.description import Description, Options
from harness.run.directory import RunDirectory
from harness.tasks import Task
from tests.commandline import run
from tests.rows import IMAGE, Outcomes, make_run

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
EVIL = (
    'from pathlib import Path\nPath("ran").touch()\ndef build(task): raise ValueError\ndef task(): raise ValueError\n'
)
MARKUP = "<img src=x onerror=alert(1)>|`b`[a](javascript:c)@you\x1b[31m</script>"
GOOD = {"m": Outcomes([1.0, 0.0], {IMAGE: [1.0, 0.0]}, {("mcar", 0.0): [1.0, 0.0], ("mcar", 1.0): [0.0, 0.0]})}


@pytest.fixture
def evil(elsewhere: Path) -> Path:
    """A folder with a module that leaves a trace when it is run."""
    (elsewhere / "evil.py").write_text(EVIL)
    return elsewhere


UNSAFE_MODULES = {"pickle", "joblib", "dill", "shelve", "marshal", "cloudpickle"}
UNSAFE_CALLS = {"torch.load", "torch.jit.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec"}


def unsafe(path: Path) -> list[str]:
    """The imports and calls of a Python file that could run data."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            found += [name for name in modules if name.split(".")[0] in UNSAFE_MODULES]
        elif isinstance(node, ast.Call):
            name, options = ast.unparse(node.func), {each.arg: ast.unparse(each.value) for each in node.keywords}
            found += [name] if name in UNSAFE_CALLS or name.endswith("read_pickle") else []
            found += [name] if name == "np.load" and options.get("allow_pickle") != "False" else []
    return found


def test_no_file_of_ours_loads_a_pickle(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(
        "import pickle\nfrom joblib import load\ntorch.load(x)\nnp.load(x)\npd.read_pickle(x)"
    )
    assert len(unsafe(tmp_path / "x.py")) == 5
    ours = [path for floor in ("attacks", "harness", "defenses", "app") for path in (ROOT / floor).rglob("*.py")]
    assert len(ours) > 100 and {str(path): found for path in ours if (found := unsafe(path))} == {}


def test_a_run_from_elsewhere_runs_nothing(
    evil: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its description and its rows name code everywhere a name can stand."""
    code = {"task": "evil.py:task", "model": ["evil.py:build"], "search": "evil.py:build", "attack": ["evil.py:build"]}
    directory = make_run(evil / "run", {"evil.py:build": GOOD["m"]}, config=code)
    description = directory.describe()
    config = (description.config or Options()).model_copy(update=code)
    directory.note(description.model_copy(update={"config": config}))
    (evil / "gates.yaml").write_text("gates: [{model: 'evil.py:build', min: 0.1}]")
    for verb in (["report", "run"], ["gate", "run"], ["compare", "run", "run"], ["bless", "run"], ["verify", "run"]):
        run(monkeypatch, *verb)
        assert not (evil / "ran").exists(), verb
    assert (
        "names code that would run here: if you trust that code, also name it with --code 'evil.py'"
        in capsys.readouterr().err
    )
    assert run(monkeypatch, "verify", "run", "--code", "evil.py") == 2
    assert (evil / "ran").exists(), "what is named is run"


def carded(place: Path, model: str, task: Task) -> Path:
    checkpoint.save(place, torch.nn.Linear(3, 2), {"model": model, "task": task.name})
    return place


def test_a_card_runs_nothing(evil: Path) -> None:
    toy = Task.from_arrays({"x": torch.rand(20, 3)}, torch.arange(20) % 2)
    for named in ("evil.py:build", "evil:build", "os:system", f"{evil}/evil.py:build"):
        with pytest.raises(BadInput, match="names code: if you trust that code, name both"):
            load_model(str(carded(evil / "x.safetensors", named, toy)), toy, CPU)
    assert not (evil / "ran").exists()


OWN = (
    "import torch\nclass Net(torch.nn.Linear):\n    def forward(self, inputs, present=None):\n        return"
    " super().forward(inputs['x'])\n"
)


def test_code_and_its_weights_are_named_together(elsewhere: Path) -> None:
    (elsewhere / "my.py").write_text(f"{OWN}def build(task): return Net(3, 2)\n")
    toy = Task.from_arrays({"x": torch.rand(20, 3)}, torch.arange(20) % 2)
    place = carded(elsewhere / "x.safetensors", "my.py:build", toy)
    loaded = load_model(f"my.py:build@{place.name}", toy, CPU)
    kept = torch.nn.Linear(3, 2)
    checkpoint.load(place, kept)
    assert loaded.weights == checkpoint.weight_hash(kept)


@pytest.mark.parametrize("content", [pickle.dumps({"weight": 1}), b"", b"PK\x03\x04", b"\xff" * 100])
def test_a_checkpoint_that_is_no_safetensors_is_one_sentence(elsewhere: Path, content: bytes) -> None:
    place = elsewhere / "x.safetensors"
    place.write_bytes(content)
    with pytest.raises(BadInput, match=r"checkpoint .*x\.safetensors cannot be read"):
        checkpoint.load(place, torch.nn.Linear(3, 2))


@pytest.mark.parametrize(
    "card", ["[]", "nothing", '{"model": 1, "task": "digits"}', '{"model": "concat"}', "[" * 100_000]
)
def test_a_card_that_is_none_is_one_sentence(elsewhere: Path, card: str) -> None:
    (elsewhere / "x.json").write_text(card)
    with pytest.raises(BadInput, match=r"has no readable card x\.json"):
        checkpoint.read_card(elsewhere / "x.safetensors")


BOMBS = {
    "a: &a [1]\nb: [*a, *a]": "has an alias",
    "seed: " + "[" * 50_000: "nested more than 8 deep",
    "seed: 1 #" + "x" * 70_000: "larger than 65536 bytes",
    "!!python/object/apply:os.system [ls]": "is not YAML",
    "seed: !!int ''": "is not YAML",
}


@pytest.mark.parametrize("text", BOMBS, ids=lambda text: text[:20])
def test_settings_are_data_of_a_limited_size(elsewhere: Path, text: str) -> None:
    (elsewhere / "c.yaml").write_text(text)
    with pytest.raises(BadInput, match=BOMBS[text]):
        resolve(elsewhere / "c.yaml", {})


@pytest.mark.parametrize(
    "place", ["gates.json", "gates.json.partial", "report.html", "ledger/x.parquet", "witnesses", "lock"]
)
def test_links_lead_nowhere(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """Neither read nor written through: files outside stay the same."""
    make_run(elsewhere / "run", GOOD)
    outside = elsewhere / "outside"
    outside.write_text("precious")
    (elsewhere / "run" / place).symlink_to(outside)
    (elsewhere / "gates.yaml").write_text("gates: [{model: m, min: 0.1}]")
    for verb in (["report", "run"], ["gate", "run"], ["verify", "run"], ["evaluate", "--samples", "1", "--out", "run"]):
        assert run(monkeypatch, *verb) == 2
        assert f"run run: {place} is a link or a pipe, not a file: remove it" in capsys.readouterr().err
    assert outside.read_text() == "precious"


def test_a_pipe_is_not_waited_for_and_a_link_inside_is_followed(elsewhere: Path) -> None:
    directory = make_run(elsewhere / "run", GOOD)
    (elsewhere / "run" / "again.json").symlink_to("run.json")
    (elsewhere / "link").symlink_to(elsewhere / "run")
    assert RunDirectory("link").describe() == directory.describe()
    os.mkfifo(elsewhere / "run" / "ledger" / "x.parquet")
    with pytest.raises(BadInput, match=r"ledger/x\.parquet is a link or a pipe, not a file"):
        directory.describe()


def test_names_of_a_run_are_only_names(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the page, in its figures, in Markdown and on the terminal."""
    directory = make_run(
        elsewhere / "run", {MARKUP: GOOD["m"]}, config={"task": MARKUP}, status=MARKUP, run=MARKUP, note=MARKUP
    )
    page = render(directory)
    assert "<img" not in page and "alert(1)</" not in page
    spoken = re.findall(r'"name":"([^"]*)"', page)
    assert spoken and all("\\u003cimg" not in name for name in spoken), (
        "a figure reads HTML, even where JSON escapes it"
    )
    told = re.sub(r"`[^`]*`", "", as_markdown(directory))
    assert not re.search(r"(?<!\\)<img|(?<!\\)\]\(|(?<!>)@you|\x1b", told)
    assert run(monkeypatch, "report", "run") == 0
    assert "\x1b" not in capsys.readouterr().out
    (elsewhere / "gates.yaml").write_text('gates: [{model: "\\e[31mno", min: 0.1}]')
    assert run(monkeypatch, "gate", "run") == 2
    assert (
        "\x1b" not in capsys.readouterr().err
        and json.loads((elsewhere / "run" / "run.json").read_text())["status"] == MARKUP
    )


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"task": "evil.py:task"}, "evil.py"),
        ({"model": ["concat", "evil:build?width=3"]}, "evil"),
        ({"search": "evil.py:search"}, "evil.py"),
        ({"attack": ["torchattacks:APGD?steps=5", "evil.py:attack"]}, "evil.py"),
        ({"corruption": ["image@noise:0,1", "image@evil.py:fog:0,3"]}, "evil.py"),
        (
            {
                "schedule": ["fixed(audio+text):0.5,1", "mcar:0,0.2"],
                "frontier": ["image,audio"],
                "model": ["checkpoints/a.safetensors"],
            },
            "",
        ),
    ],
)
def test_wherever_a_run_names_code_it_asks(changed: dict[str, Any], named: str) -> None:
    described = Description.model_construct(config=Options(**Evaluation().model_dump(mode="json") | changed))
    if not named:
        assert permitted("run", described, ()).model == ("checkpoints/a.safetensors",)
        return
    with pytest.raises(BadInput, match=rf"run names code that would run here: .* --code '{named}'$"):
        permitted("run", described, ["other.py"])
    assert permitted("run", described, [named])
