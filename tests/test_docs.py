"""Links of pages that no site builder checks lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import run

ROOT = Path(__file__).parents[1]
SITE = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
PAGES = ("README.md", "CONTRIBUTING.md", "attacks/README.md", *SITE)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_to_one(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.S)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link and not link.startswith("#")]
    files = [((ROOT / page).parent / link.partition("#")[0]).resolve() for link in links]
    assert not [file for file in files if not file.exists()]
    if page in SITE:  # the site has the files of docs, except for those that it leaves out
        left_out = re.findall(r"^  (\S+)$", (ROOT / "mkdocs.yml").read_text().partition("exclude_docs: |")[2], re.M)
        on_site = [file.relative_to(ROOT / "docs").as_posix() for file in files]
        assert left_out and not [file for file in on_site if file.startswith(tuple(left_out))]


def test_the_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    names: dict[str, object] = {}
    exec(example, names)
    assert len(names["run"].summary)  # type: ignore[attr-defined]
    assert len([line for line in example.splitlines() if line]) == 12
    assert list(tmp_path.iterdir()) == []


def test_the_example_without_gradients_runs() -> None:
    page = (ROOT / "docs" / "your-own-model.md").read_text()
    (example,) = [each for each in re.findall(r"```python\n(.*?)```", page, re.S) if "harness.wrap(forest)" in each]
    names: dict[str, Any] = {}
    exec(example.replace("queries=1000", "queries=20").replace("samples=50", "samples=8"), names)
    assert set(names["run"].ledger.queries.dropna()) <= {16, 20}


EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "answers.md").read_text(), re.S)
# the others need weights; see test_generative.py and test_transcribing.py
ANSWERS = [each for each in EXAMPLES if "def build(task)" in each and "pretrained(" not in each]


@pytest.mark.parametrize("example", ANSWERS, ids=["labels", "maps", "boxes", "pairs", "words"])
def test_the_examples_of_answers_run(example: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "my.py").write_text(example)
    (task,) = re.findall(r"def (My\w+)", example)
    few = ("--samples", "3", "--search", "fast", "--no-trust", "--schedule", "none", "--out", "run")
    assert run(monkeypatch, "evaluate", "--task", f"my.py:{task}", "--model", "my.py:build", *few) == 0


def test_every_check_of_trust_is_explained() -> None:
    from harness.trust.attack_checks import INSIDE_BALLS, budget, planted
    from harness.trust.checks import ON_THE_LEDGER, ON_THE_MODEL
    from harness.trust.explained import explanations

    checks = {
        check.__name__.replace("_", "-") for check in (*ON_THE_LEDGER, *ON_THE_MODEL, *INSIDE_BALLS, budget, planted)
    }
    assert explanations().keys() == checks | {"batch", "random", "part", "unchecked"}
    for text in explanations().values():
        assert all(text.count(f"- **{each}") == 1 for each in ("Test:", "Raised when", "What to do:"))
        assert "](" not in text.replace("](https://", "")
