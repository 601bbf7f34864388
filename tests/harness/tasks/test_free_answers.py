"""Answers in words: margins agree with what is said, and a run's numbers with exact ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from attacks.errors import BadInput
from harness.models.words.speaking import Prompt, Speaking, greedy, speaking
from harness.tasks import Task
from harness.tasks.judges import JUDGES, judge_named, normalised, transcript_errors
from harness.tasks.problems.free_answers import ANSWERS, FreeAnswers, tokens_of

TEXTS = ("", "red", "blue", "ball", "two", "2", "the", "no")
END, LENGTH, WIDTH = 0, 4, 6


def decode(tokens: Sequence[int]) -> str:
    return " ".join(TEXTS[token] for token in tokens if token != END)


def encode(text: str) -> list[int]:
    return [TEXTS.index(word) for word in text.split()]


class Recurrent(nn.Module):
    """Reads two vectors; a small recurrent net speaks."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.read = nn.Linear(2 * WIDTH, 16)
            self.embed = nn.Embedding(len(TEXTS), 16)
            self.cell = nn.GRU(16, 16, batch_first=True)
            self.say = nn.Linear(16, len(TEXTS))
            self.say.weight.data *= 4
        self.calls = 0

    def embed_prompt(self, inputs: dict[str, Tensor], present: Tensor | None) -> Prompt:
        return {"state": self.read(torch.cat([inputs["image"], inputs["question"]], 1)).tanh()}

    def logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        begin = torch.zeros(len(tokens), 1, 16)
        steps, _ = self.cell(torch.cat([begin, self.embed(tokens)], 1), prompt["state"][None].contiguous())
        answer: Tensor = self.say(steps)
        return answer

    def generate(self, prompt: Prompt, length: int) -> Tensor:
        self.calls += 1
        return greedy(self, prompt, length)


class Slots(nn.Module):
    """The token at each position is linear in the inputs, whatever was said before."""

    def __init__(self) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(1)
        self.register_buffer("w", torch.randn(LENGTH + 1, len(TEXTS), 2 * WIDTH, generator=draws))
        self.register_buffer("b", 3 * torch.eye(len(TEXTS))[torch.tensor([1, 3, END, END, END])])

    def embed_prompt(self, inputs: dict[str, Tensor], present: Tensor | None) -> Prompt:
        return {"x": torch.cat([inputs["image"], inputs["question"]], 1)}

    def logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        steps = tokens.shape[1] + 1
        every = torch.einsum("pvd,bd->bpv", self.w, prompt["x"]) + self.b  # type: ignore[operator]
        return every[:, :steps]

    def generate(self, prompt: Prompt, length: int) -> Tensor:
        return greedy(self, prompt, length)


def letter_by_letter(said: str, right: Sequence[str]) -> float:
    return float(said in right)


def task_of(network: Any, count: int = 40, judge: Any = "exact", ways: int = 1, right: Any = None) -> Task:
    """Vectors; the answer is what the network says, so that it is right untouched."""
    draws = torch.Generator().manual_seed(0)
    inputs = {name: 0.5 * torch.randn(count, WIDTH, generator=draws) for name in ("image", "question")}
    said = greedy(network, network.embed_prompt(inputs, None), LENGTH)
    ended = (said == END).cumsum(1) > 0
    texts = [
        decode([token for token, over in zip(*row, strict=True) if not over])
        for row in zip(said.tolist(), ended.tolist(), strict=True)
    ]
    answers = tuple((text,) for text in texts) if right is None else tuple(right(text) for text in texts)
    tokens = tokens_of(answers, encode, END, ways)
    problem = FreeAnswers(answers, decode, len(TEXTS), max(LENGTH + 1, tokens.shape[2]), ways, judge)
    return Task.from_arrays(
        inputs, torch.arange(count), problem=problem, splits="test", name="words", extra_inputs={ANSWERS: tokens}
    )


OPTIONS: dict[str, Any] = {"samples": "all", "schedule": "none", "scenarios": ["image@linf:0.3 + question@linf:0.3"]}


@pytest.mark.parametrize("seed", range(3))
def test_a_lead_says_what_decoding_says(seed: int) -> None:
    network = Recurrent(seed)
    task = task_of(network, 400, ways=2)
    model, batch = speaking(network, task, end=END), task.splits["test"].take(range(400))
    moved = {
        name: x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(9))
        for name, x in batch.inputs.items()
        if name != ANSWERS
    }
    for inputs in (batch.inputs, {**batch.inputs, **moved}):
        with torch.no_grad():
            outputs = model(inputs)
            spoken = task.problem.spoken(outputs)  # type: ignore[attr-defined]
            said = greedy(network, network.embed_prompt(inputs, None), LENGTH + 1)
        wanted = batch.inputs[ANSWERS][:, 0]
        length = (wanted >= 0).sum(1)
        exact = torch.stack([(said[row, :n] == wanted[row, :n]).all() for row, n in enumerate(length.tolist())])
        sure = spoken.best.abs() > 1e-3
        assert torch.equal((spoken.best > 0)[sure], exact[sure]) and int(sure.sum()) > 390
        known = ((said == END).cumsum(1) - (said == END).long()) == 0
        assert torch.equal(spoken.tokens[~exact], said.where(known, -1)[~exact])
        assert bool((spoken.lead > 0)[sure].all())  # what is said leads at each of its positions
    assert not exact.all()


def test_decoding_waits_for_doubt() -> None:
    network = Recurrent()
    task = task_of(network)
    model, batch = speaking(network, task, end=END), task.splits["test"].take(range(40))
    with torch.no_grad():
        sure = (task.problem.spoken(model(batch.inputs)).best > 0.01).nonzero().squeeze(1)
        network.calls = 0
        outputs = model(batch.take(sure).inputs)
    assert network.calls == 0 and len(sure) > 10
    assert bool((task.problem.score(outputs, batch.targets[sure]) == 1).all())


def test_a_linear_network_has_an_exact_critical_strength() -> None:
    network = Slots()
    task = task_of(network, judge=letter_by_letter)
    run = harness.evaluate(task, {"slots": speaking(network, task, end=END)}, trust=False, **OPTIONS)
    batch = task.splits["test"].take(range(40))
    scenario = "image@linf:0.3 + question@linf:0.3"
    found = run.ledger[run.ledger.scenario == scenario].set_index("sample").strength
    x = torch.cat([batch.inputs["image"], batch.inputs["question"]], 1)
    logits = network.logits({"x": x}, torch.zeros(40, LENGTH, dtype=torch.int64))
    ratios = []
    for row, sample in enumerate(batch.samples):
        answer = [token for token in batch.inputs[ANSWERS][row, 0].tolist() if token >= 0]
        steps = [
            (logits[row, place, token] - logits[row, place, other])
            / (0.3 * (network.w[place, token] - network.w[place, other]).abs().sum())  # type: ignore[index]
            for place, token in enumerate(answer)
            for other in range(len(TEXTS))
            if other != token
        ]
        exact = max(0.0, float(torch.stack(steps).min()))
        if exact:
            ratios.append(found[sample] / exact)
        else:
            assert found[sample] == 0
    assert len(ratios) > 35 and min(ratios) > 0.999 and max(ratios) < 1.02


def test_right_in_other_words_is_right() -> None:
    network = Slots()
    strict = task_of(network, judge=letter_by_letter)
    # any answer that begins with the right word counts
    loose = task_of(network, judge=lambda said, right: float(said.split()[:1] == right[0].split()[:1]))
    ledgers = {}
    for name, task in (("strict", strict), ("loose", loose)):
        run = harness.evaluate(task, {"slots": speaking(network, task, end=END)}, trust=False, **OPTIONS)
        ledgers[name] = run.ledger.set_index(["scenario", "sample"])
        assert set(run.ledger.status) == {"ok"}
    assert (ledgers["loose"].strength >= ledgers["strict"].strength * 0.98).all()
    assert (ledgers["loose"].strength > ledgers["strict"].strength * 1.1).any()
    broken = ledgers["loose"][ledgers["loose"].strength.between(1e-9, 8)]
    right = dict(zip(loose.splits["test"].samples, (each[0] for each in loose.problem.right), strict=True))  # type: ignore[attr-defined]
    assert len(broken) > 20
    assert all(row.label.split()[:1] != right[sample].split()[:1] for (_, sample), row in broken.iterrows())


class Blind(Recurrent):
    def __init__(self, ignored: str, seed: int) -> None:
        super().__init__(seed)
        self.ignored = ignored

    def embed_prompt(self, inputs: dict[str, Tensor], present: Tensor | None) -> Prompt:
        return super().embed_prompt({**inputs, self.ignored: torch.zeros_like(inputs[self.ignored])}, present)


@pytest.mark.parametrize(("ignored", "other", "seed"), [("image", "question", 0), ("question", "image", 2)])
def test_a_network_that_ignores_an_input_is_not_hurt_by_it(ignored: str, other: str, seed: int) -> None:
    network = Blind(ignored, seed)
    task = task_of(network)
    run = harness.evaluate(
        task,
        {"blind": speaking(network, task, end=END)},
        samples="all",
        trust=False,
        attributions=4,
        schedule=[f"fixed({ignored}):1"],
        scenarios=[f"{ignored}@linf:5", f"{other}@linf:0.3"],
    )
    ledger = run.ledger[run.ledger.scenario == f"{ignored}@linf:5"]
    assert ledger.strength.isin([0.0, float("inf")]).all()
    assert run.ledger[run.ledger.scenario == f"{other}@linf:0.3"].strength.between(1e-9, 8).any()
    clean = run.directory.table("samples").to_pandas().set_index("sample").score
    blind = run.sweep[(run.sweep.name == f"fixed({ignored})") & (run.sweep.level == 1)].set_index("sample").score
    assert (blind == clean[blind.index]).all() and clean.mean() > 0.5
    shares = run.directory.table("attributions").to_pandas()
    assert len(shares) and (shares[shares.modality == ignored].shapley == 0).all()


def test_tables_show_texts() -> None:
    network = Slots()
    task = task_of(network, judge=letter_by_letter)
    run = harness.evaluate(task, {"slots": speaking(network, task, end=END)}, **OPTIONS)
    samples = run.directory.table("samples").to_pandas()
    right = samples[samples.score == 1]
    assert len(right) > 20 and (right.label == right.target).all() and samples.target.str.contains("red").any()
    assert {metric.metric for metric in run.directory.notes.metrics()} == {"letter_by_letter", "accuracy"}


@pytest.mark.parametrize(
    ("judge", "said", "right", "score"),
    [
        ("exact", "The two balls.", ["2 balls"], 1.0),
        ("exact", "balls two", ["2 balls"], 0.0),
        ("exact", "1,000", ["1000"], 1.0),
        ("vqa", "red", ["red"] * 4 + ["blue"] * 6, 1.0),
        ("vqa", "red", ["red"] + ["blue"] * 9, 0.3),
        ("vqa", "green", ["red"] * 10, 0.0),
        ("contains", "A big red ball", ["red ball"], 1.0),
        ("contains", "reddish", ["red"], 0.0),
        ("yes-no", "Yes, indeed.", ["yes"], 1.0),
        ("yes-no", "There is no ball, yes", ["yes"], 0.0),
        ("choice", "C. the dog", ["C"], 1.0),
        ("choice", "A dog", ["C"], 0.0),
        ("numeric", "104", ["100"], 1.0),
        ("numeric", "106", ["100"], 0.0),
        ("numeric:0.1", "106", ["100"], 1.0),
        ("likeness", "STOP", ["stop"], 1.0),
        ("likeness", "stap", ["stop"], 0.75),
        ("transcript", "He came, at two.", ["HE CAME AT TWO"], 1.0),
        ("transcript", "he came", ["HE CAME AT TWO"], 0.5),
        ("transcript", "he came at 2", ["HE CAME AT TWO"], 0.75),
        ("transcript", "and so he came there at two", ["HE CAME AT TWO"], 0.25),
        ("transcript", "no no no no no", ["HE CAME"], 0.0),
        ("transcript", "he came", ["SHE WENT", "HE CAME"], 1.0),
    ],
)
def test_judges(judge: str, said: str, right: list[str], score: float) -> None:
    assert judge_named(judge)[1](said, right) == pytest.approx(score)


def test_error_rates_are_those_of_the_whole_set() -> None:
    right = (("HE CAME AT TWO",), ("YES",), ("A B", "A B C D"))
    problem = FreeAnswers(right, decode, len(TEXTS), LENGTH, judge="transcript")
    counts = [transcript_errors(*each) for each in zip(("he came", "no yes", "a c b d"), right, strict=True)]
    assert counts == [(2, 4, 7, 14), (1, 1, 3, 3), (2, 4, 2, 7)]
    tallies = torch.tensor([[0.5, 1, *counts[0]], [0, 0, *counts[1]], [0.5, 1, *counts[2]]])
    found = problem.metrics(tallies)
    assert found == pytest.approx({"transcript": 1 / 3, "accuracy": 2 / 3, "wer": 5 / 9, "cer": 12 / 24})


def test_an_own_judge_of_that_name_has_no_rates() -> None:
    def transcript(said: str, right: Sequence[str]) -> float:
        return 1.0

    for judge, columns in (("transcript", 6), (transcript, 2), ("exact", 2)):
        task = task_of(Slots(), count=3, judge=judge)
        outputs = speaking(Slots(), task, end=END)(task.splits["test"].take(range(3)).inputs)
        tally = task.problem.tally(outputs, torch.arange(3))
        assert tally.shape == (3, columns) and len(task.problem.metrics(tally)) == 2 + (columns - 2) // 2


def test_the_text_without_what_does_not_count() -> None:
    assert normalised("  An apple -- the RED one! ") == "apple red 1"
    assert all(0 <= judge("", [""]) <= 1 for judge in JUDGES.values())


@pytest.mark.parametrize("judge", ["exakt", "numeric:-1", "numeric:x", "exact:2"])
def test_a_judge_that_is_not_known_is_refused(judge: str) -> None:
    with pytest.raises(BadInput, match=r"exact|tolerance"):
        task_of(Slots(), judge=judge)


def test_what_does_not_speak_is_refused() -> None:
    task = task_of(Slots())
    with pytest.raises(BadInput, match="Linear has no embed_prompt, logits, generate"):
        Speaking(nn.Linear(2, 2), task, END)
    other = Task.from_arrays({"x": torch.zeros(20, 2)}, torch.arange(20) % 2)
    with pytest.raises(BadInput, match="has no free answers"):
        Speaking(Slots(), other, END)


@pytest.mark.parametrize(
    ("judge", "said", "right", "score"),
    [
        ("exact", "", ["A"], 0),
        ("exact", "the", ["A"], 0),
        ("exact", "A.", ["a"], 1),
        ("exact", "...", ["A"], 0),
        ("vqa", "", ["?"] * 10, 0),
        ("choice", "A dog", ["A"], 0),
        ("choice", "B", ["(B) a dog"], 1),
        ("choice", "b) cat", ["B"], 1),
        ("numeric", ".5", ["5"], 0),
        ("numeric", ".5", ["0.5"], 1),
        ("numeric", "1e3", ["1000"], 1),
    ],
)
def test_silence_and_articles_are_no_answers(judge: str, said: str, right: list[str], score: float) -> None:
    assert JUDGES[judge](said, right) == score
