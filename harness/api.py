"""The Python interface: `harness.evaluate`, `harness.load` and `harness.train`, for objects and for
references alike.
"""

from __future__ import annotations

import inspect
import numbers
import os
import uuid
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_origin

from attacks.errors import BadInput, unknown
from harness.references.objects import as_model, as_reference, as_references

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    from torch import nn

    from harness.gates.outputs import Report
    from harness.run.directory import RunDirectory
    from harness.tasks import Task

MEMORY = "memory://harness-runs"
SOME_FAILED = 5  # the exit code of the command
APART = ("workers", "engine")  # options that need other processes, which cannot see objects of this one


class Run:
    """The results of an evaluation: tables, curves, a figure, flags and gates.

    It shows itself in a notebook.

    Args:
        url: of the run's directory.
    """

    def __init__(self, url: str) -> None:
        from harness.run.directory import RunDirectory

        self.url = url
        self.directory: RunDirectory = RunDirectory(url)
        self.directory.describe()

    def __repr__(self) -> str:
        return f"Run({self.url!r}, status={self.status!r})"

    @property
    def status(self) -> str:
        """`complete`, or why the run is not complete, as `run.json` has it."""
        return self.directory.describe().status

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The printed table: a row for each condition and model, with the score, its 95 % interval,
        and the flags that are raised.

        Columns: section, condition, model, score, low, high, samples, flags.
        """
        import pandas as pd

        from harness.analysis.summary import summarise

        raised = self.flags
        found = summarise(self.directory)
        rows = [
            (section, condition, model, share.value, *share.interval, share.samples, _named(raised, condition, model))
            for section, conditions in found.sections.items()
            for condition, shares in conditions.items()
            for model, share in shares.items()
        ]
        return pd.DataFrame(rows, columns=["section", "condition", "model", "score", "low", "high", "samples", "flags"])

    def curves(self) -> pd.DataFrame:
        """Robust score against strength. Columns: model, scenario, strength, score, low, high, and
        certified, the share that provably withstands (NaN without certificates).
        """
        import pandas as pd

        from harness.analysis.curves import CURVED, robust_curves, strength_grid

        ledger, fronts = self.directory.ledger(CURVED["ledger"]), self.directory.table("fronts", CURVED["fronts"])
        found = robust_curves(ledger, strength_grid(ledger), fronts) if len(ledger) else {}
        rows = [
            (
                *(model, scenario, point.at, point.share.value, *point.share.interval),
                point.certified.value if point.certified else float("nan"),
            )
            for (scenario, model), points in found.items()
            for point in points
        ]
        return pd.DataFrame(rows, columns=["model", "scenario", "strength", "score", "low", "high", "certified"])

    def figure(self) -> go.Figure:
        """Robust score against strength: a panel for each scenario, a line with its band for each
        model.
        """
        from harness.reporting.figures import robust_figure

        return robust_figure(self.directory)

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """One row for each sample, model and scenario: the critical strength, and how it was
        found.
        """
        return self._frame("ledger")

    @cached_property
    def sweep(self) -> pd.DataFrame:
        """One row for each sample, model, schedule or corruption, level and repeat: the score
        there.
        """
        return self._frame("sweep")

    @cached_property
    def attributions(self) -> pd.DataFrame:
        """One row for each explained sample, condition, method and modality: its share of the
        margin, and its Shapley value; empty without `attributions=`.
        """
        return self._frame("attributions")

    @property
    def errors(self) -> dict[str, str]:
        """The tracebacks of cells that are errors, by the name of the cell; empty without
        errors.
        """
        return {
            name: self.directory.read(f"errors/{name}").decode(errors="replace")
            for name in self.directory.listing("errors")
        }

    @cached_property
    def flags(self) -> pd.DataFrame:
        """The checks of trust that are raised. Columns: model, scenario, check, value, why."""
        import pandas as pd

        from harness.run.flags import raised

        found = raised(self.directory.notes.trust())
        rows = [(model, scenario, name, flag["value"], flag["why"]) for model, scenario, name, flag in found]
        return pd.DataFrame(rows, columns=["model", "scenario", "check", "value", "why"])

    def gate(self, file: str | os.PathLike[str], baseline: str | os.PathLike[str] | Run | None = None) -> Report:
        """Check the run against a gates file. `code` is the exit code of the command `gate`;
        `verdicts` has the verdict of each gate.

        Args:
            baseline: for gates of drops: a run, or a file that `bless` wrote.

        Raises:
            BadInput: the file cannot be read, or does not fit the run.
        """
        from harness.gates.file import read_gates
        from harness.gates.gating import judge

        before = baseline.url if isinstance(baseline, Run) else None if baseline is None else os.fspath(baseline)
        return judge(self.directory, read_gates(os.fspath(file)), os.fspath(file), before)

    def _repr_html_(self) -> str:
        from harness.reporting.report import notebook

        return notebook(self.directory)

    def _frame(self, table: str) -> pd.DataFrame:
        frame: pd.DataFrame = self.directory.table(table).to_pandas()
        return frame


def evaluate(
    task: Task | str | None = None,
    models: Mapping[str, Any] | Sequence[str] | nn.Module | str | None = None,
    /,
    **options: Any,
) -> Run:
    """Evaluate models on a task, as `python -m harness evaluate` does.

    >>> run = harness.evaluate(task, {"mine": net}, scenarios=["image@linf:8/255"], samples=100)

    Args:
        task: a `harness.tasks.Task`, or a reference; None: the task that the weights of the models
            are for.
        models: modules, or functions that build one for a task, by name; or references; the
            command's models if absent.
        options: those of `evaluate`, by the same names (`--batch-size` is `batch_size`); options
            that may be repeated take a list, and also have their plural as a name: `scenarios`,
            `schedules`, `corruptions`, `attacks`, `frontiers`.

    Returns:
        the run. Without `out` it is kept in memory as long as the `Run` exists. With `out` it is a
        directory, and the same call resumes it.

    Raises:
        BadInput: an option cannot be used. It is raised before any work is done.
    """
    from rich.console import Console

    from harness.commands.evaluate import evaluate as run
    from harness.run.config import resolve

    given = _by_flag(options)
    with ExitStack() as stack:
        if task is not None:
            given |= {"task": stack.enter_context(as_reference(task))}
        if models is not None and isinstance(models, Mapping | Sequence) and not models:
            raise BadInput("models is empty: give a model, or leave it out for the models of the command")
        if models is not None:
            given |= {"model": stack.enter_context(as_references(models))}
        _refuse_apart(given, task, models)
        url = given.setdefault("out", f"{MEMORY}/{uuid.uuid4().hex}")
        code = run(resolve(None, given), Console(quiet=True))
    found = Run(url)
    if code == SOME_FAILED:
        warnings.warn(
            "some cells of the run are errors: `run.errors` has the tracebacks, `run.summary` leaves them out",
            stacklevel=2,
        )
    if url.startswith(MEMORY):
        weakref.finalize(found, _forget, url)
    return found


def _signature() -> inspect.Signature:
    """Every option of `evaluate`, with its type and default, for tools that complete or inspect the
    call.
    """
    from harness.run.config import Evaluation

    own = [
        each
        for each in inspect.signature(evaluate).parameters.values()
        if each.kind is inspect.Parameter.POSITIONAL_ONLY
    ]
    fields = {name: field for name, field in Evaluation.model_fields.items() if name not in ("task", "model")}
    flags = [
        inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.annotation)
        for n, f in fields.items()
    ]
    return inspect.Signature([*own, *flags], return_annotation=Run)


evaluate.__signature__ = _signature()  # type: ignore[attr-defined]


def load(url: str | os.PathLike[str]) -> Run:
    """Open a run at a path or URL.

    Raises:
        BadInput: there is no run.
    """
    return Run(os.fspath(url))


def train(task: Task | str, model: str | nn.Module | Callable[[Task], nn.Module], /, **options: Any) -> nn.Module:
    """Train a model, as `python -m harness train` does, and return it at its best epoch.

    Args:
        model: a registered name, or a reference to a function that builds one; or such a function
            or a class; or a module, of which a copy is trained.
        options: those of `train`, by the same names: recipe, seed, epochs, device, train_missing,
            train_samples; with `out` a checkpoint and its card are written, too.

    Raises:
        BadInput: an option cannot be used, the loss is not finite, or `train_missing` has several
            rates, which make several models.
    """
    from rich.console import Console

    from harness.training.train import Training, trained

    allowed = [name for name in inspect.signature(Training).parameters if name not in ("task", "model")]
    for name in options:
        if name not in allowed:
            raise unknown("option", name, allowed, where=" of harness.train")
    if not isinstance(model, str) and options.get("out"):
        raise BadInput(
            f"out={str(options['out'])!r}: a checkpoint's card names the code of its model, and this model is an"
            " object: give a reference (file.py:object), or save the state_dict of the result"
        )
    with as_reference(task) as name, as_model(model) as trainee:
        return trained(Training(name, trainee, **options), Console(quiet=True))


def _by_flag(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options by the names of the flags.

    Raises:
        BadInput: one is given twice.
    """
    from harness.run.config import Evaluation

    repeatable = [
        name
        for name, field in Evaluation.model_fields.items()
        if get_origin(field.annotation) is tuple and name != "model"
    ]
    plural = {f"{name}s": name for name in repeatable}
    given = {plural.get(name, name): _plain(value) for name, value in options.items() if value is not None}
    for many, name in plural.items():
        if many in options and name in options:
            raise BadInput(f"{many} and {name} are one option: give one of them")
    return given


def _plain(value: Any) -> Any:
    """Paths as texts and numbers of NumPy as Python's, as a configuration holds them."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if isinstance(value, numbers.Number) and hasattr(value, "item") else value


def _refuse_apart(given: Mapping[str, Any], task: object, models: object) -> None:
    """Refuse objects together with options that need other processes."""
    objects = not isinstance(task, str | None) or isinstance(models, Mapping) or not isinstance(models, Sequence | None)
    if objects and (given.get("workers", 1) != 1 or given.get("engine", "local") != "local"):
        named = next(name for name in APART if given.get(name) not in (None, 1, "local"))
        raise BadInput(
            f"{named}={given[named]!r} takes references (file.py:object): other processes cannot see objects of"
            " this one"
        )


def _named(raised: pd.DataFrame, condition: str, model: str) -> str:
    from harness.run.flags import EVERY

    rows = raised[(raised["model"] == model) & raised["scenario"].isin([condition, EVERY])]
    return ", ".join(dict.fromkeys(rows["check"]))


def _forget(url: str) -> None:
    import fsspec

    files, root = fsspec.core.url_to_fs(url)
    if files.exists(root):
        files.rm(root, recursive=True)
