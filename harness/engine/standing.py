"""The parts of a run, and whether an evaluation may continue that run.

A run goes on only with the models, the task and the code that it began with.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from attacks.eot import STORED
from harness.engine.environment import device_name, git_commit, machine, versions
from harness.engine.fingerprint import fingerprint
from harness.engine.plan import ANSWERED, Work, prepare
from harness.run.description import Description, Identity
from harness.run.fingerprint import POINTS, Fingerprint
from harness.run.status import CHANGED, RUNNING
from harness.run.validation import differences

OF_MODELS = {"weights": "weights", "code": "code, attributes or files that it reads"}
"""Keys of an identity that hold something for each model, and what they hold."""
OF_TASK = ("task code", "problem")  # a file may hold the task and the model: then the model is what matters


@dataclass(frozen=True, eq=False)
class Standing:
    """The parts of a run, or of an evaluation that is about to become one.

    Attributes:
        description: the contents of `run.json`, with identity, versions, machine and device.
        prints: the fingerprints by model; in a damaged run some may be missing.
    """

    description: Description
    prints: Mapping[str, Fingerprint]

    @property
    def identity(self) -> Identity:
        return self.description.identity

    def computes_like(self, other: Standing) -> bool:
        """Whether both compute with the same libraries on the same kind of machine, so that bits
        can be compared.
        """
        ours, theirs = self.description, other.description
        return (ours.versions, ours.machine) == (theirs.versions, theirs.machine)


def standing(work: Work, description: Description) -> Standing:
    """The standing of an evaluation that is about to begin."""
    return Standing(description, {name: each.fingerprint for name, each in work.answering.items()})


def another(here: Standing, now: Standing) -> str:
    """Why the present models, task or code differ from those that a run began with, as the end of a
    sentence about the run; empty if they are the same.
    """
    if here.description.status == CHANGED:
        return f"is {CHANGED}"
    mine, theirs = here.identity, now.identity
    compared_by_answers = ANSWERED if not here.computes_like(now) else [key for key in ANSWERED if key != "applied"]
    keys = [key for key in differences(mine, theirs) if key not in compared_by_answers] if mine != theirs else []
    configured = set(keys) - {*OF_MODELS, *OF_TASK}
    why = "" if configured else another_model(here, now, [key for key in OF_MODELS if key in keys])
    # other attacks do other things: the attacks are the reason
    named = [key for key in keys if key != "applied"] or keys
    return why or (f"is of another configuration (it differs in {', '.join(named)})" if keys else "")


def another_model(here: Standing, now: Standing, keys: Sequence[str]) -> str:
    """The same for the models alone, in these keys of the identity (weights, code) and in their
    answers.
    """
    for model, found in now.prints.items():
        changed = [key for key in keys if _of_model(here, key, model) != _of_model(now, key, model)]
        if why := _differs(model, changed, here, found, now):
            return why
    return ""


def _of_model(run: Standing, key: str, model: str) -> str | None:
    return {"weights": run.identity.weights, "code": run.identity.code}[key].get(model)


def changed_since(began: Standing, work: Work, description: Description, device: torch.device) -> str:
    """A second check, in the process of the first check: why models or users' files have changed;
    empty if they have not.
    """
    prints = {model.name: fingerprint(model.module, work.task, device, work.config.cell_limit) for model in work.models}
    answering = {name: replace(work.answering[name], fingerprint=each) for name, each in prints.items()}
    again = prepare(work.config, work.task, work.models, answering)
    now = description.model_copy(update={"identity": again.identity})
    if why := another_model(began, Standing(now, prints), ()):
        return why
    before, after = began.identity.applied, again.identity.applied
    changed = sorted(text for text in after if before.get(text) != after[text])
    return f"began with another {changed[0]!r}: it gives other results on the same samples now" if changed else ""


def _differs(model: str, changed: list[str], here: Standing, found: Fingerprint, now: Standing) -> str:
    began = here.prints.get(model)
    if began is None and here.identity.answers.get(model) == found.digest:
        began = found  # of a run whose fingerprints are lost, their hash is left
    if began is None:
        return _changed(model, changed, "" if changed else "its fingerprint is lost, so this cannot be checked")
    samples, points = began.differing(found, here.computes_like(now))
    if not changed and not samples and not points:
        return ""
    count = f"it answers {samples} of {began.size} samples and {points} of {POINTS} random points differently"
    return _changed(model, changed, count)


def _changed(model: str, changed: list[str], count: str) -> str:
    other = f"other {' and '.join(OF_MODELS[key] for key in changed)}" if changed else ""
    reasons = "; ".join(each for each in (other, count) if each)
    return f"began with another model {model!r} ({reasons})"


def as_begun(work: Work, description: Description, begun: Description) -> tuple[Work, Description]:
    """The work, and its description, under the id and the identity of the run that it continues."""
    own = description.model_copy(update={"run": begun.run, "identity": begun.identity})
    return replace(work, run=begun.run, identity=begun.identity), own


def remarks(work: Work) -> list[str]:
    """Notes on attacks whose numbers a reader may misread."""
    balls = sorted({ball for scenario in work.requested for ball in scenario.attacked})
    texts = [ball for ball in balls if ball.has_norm and work.task.modality(ball.modality).kind == "text"]
    drawn = [str(ball) for ball in balls if not ball.has_norm and ball.edit.draws]
    shared = [str(ball) for ball in balls if not ball.has_norm and ball.edit.shared]
    others = work.identity.searches
    sentences = [
        f"no gradients{'' if text.startswith('blackbox') else ' in some inputs'}:"
        f" {', '.join(name for name in others if others[name] == text)}, searched by {text} in place of"
        f" {work.config.search}"
        for text in dict.fromkeys(others.values())
    ]
    sentences += [
        f"{ball} is a relaxation: it mixes tokens, which no text can do, so it overstates the weakness"
        for ball in texts
    ]
    sentences += (
        [f"{', '.join(drawn)}: a sample fails when it fails in at least half of {STORED} stored draws"] if drawn else []
    )
    sentences += (
        [f"{', '.join(shared)}: one patch for each batch of samples; other samples in the batch give another patch"]
        if shared
        else []
    )
    return sentences


def describe(work: Work, device: torch.device) -> Description:
    """The contents of `run.json` for a run that begins."""
    content = {
        "run": work.run,
        "status": RUNNING,
        "identity": work.identity,
        "config": work.config.model_dump(mode="json"),
        "modalities": list(work.task.names),
        "samples": len(work.chosen),
        **({"answer": work.answer_form} if work.answer_form else {}),
        **({"tally": work.long_tally} if work.long_tally else {}),
        "note": "; ".join(note for note in (work.task.notes, *remarks(work)) if note),
        "device": device_name(device),
        "machine": machine(device),
        "versions": versions(),
        "git_commit": git_commit(),
        "command": sys.argv[1:],
    }
    return Description.model_validate(content)
