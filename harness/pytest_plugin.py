"""The pytest plugin: gates as tests.

``pytest --robustness gates.yaml --robustness-run RUN`` adds one test for each gate. Without a run,
the models that the gates name are evaluated first. In a test, the fixture ``robustness_gate``
evaluates one model and checks one gate. Pytest loads this file in every project where the harness
is installed: so it imports heavy packages only when they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.gates.file import Gate
    from harness.gates.outputs import Report

SAMPLES = 100  # that an evaluation of the plugin's own looks at
DECIDED: pytest.StashKey[Report] = pytest.StashKey()
RUNS: pytest.StashKey[dict[str, str]] = pytest.StashKey()
RobustnessGate = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("robustness", "gates of the multimodal robustness harness")
    group.addoption("--robustness", metavar="GATES", help="a gates file; each of its gates is a test")
    group.addoption(
        "--robustness-run",
        metavar="RUN",
        help="the run directory to check; by default the models that the gates name are evaluated",
    )
    group.addoption(
        "--robustness-baseline", metavar="BASELINE", help="a run, or a file that bless wrote, for gates of drops"
    )
    group.addoption(
        "--robustness-samples", metavar="N", default=str(SAMPLES), help=f"samples to evaluate without a run [{SAMPLES}]"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect the gates file beside the other tests."""
    url = config.getoption("--robustness")
    if url is not None and _path(url) not in config.args:  # xdist's workers are given the arguments that we made
        config.args.append(_path(url))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    url = parent.config.getoption("--robustness")
    return _GatesNode.from_parent(parent, path=file_path) if url is not None and str(file_path) == _path(url) else None


def _path(url: str) -> str:
    return str(Path(url).resolve())


class _GatesNode(pytest.File):
    """A gates file among the tests; its gates are decided together, when the first of them runs."""

    def collect(self) -> Iterable[pytest.Item]:
        from attacks.errors import BadInput
        from harness.gates.file import read_gates

        try:
            gates = read_gates(str(self.path)).gates
        except BadInput as error:
            raise self.CollectError(str(error)) from None
        return [_GateItem.from_parent(self, name=str(gate), at=at) for at, gate in enumerate(gates)]

    def report(self) -> Report:
        """The verdicts of all gates."""
        if DECIDED not in self.config.stash:
            self.config.stash[DECIDED] = self._decided()
        return self.config.stash[DECIDED]

    def _decided(self) -> Report:
        from harness.gates.file import read_gates
        from harness.gates.gating import judge
        from harness.run.directory import RunDirectory

        file, option = read_gates(str(self.path)), self.config.getoption
        run = option("--robustness-run")
        if run is None:
            run = _evaluated(self.config, file.gates, option("--robustness-samples"))
        return judge(RunDirectory(run), file, str(self.path), option("--robustness-baseline"))


class _GateItem(pytest.Item):
    """One gate as a test."""

    def __init__(self, *, at: int, **named: Any) -> None:
        super().__init__(**named)
        self.at = at

    def runtest(self) -> None:
        assert isinstance(self.parent, _GatesNode)
        with _one_sentence():
            report = self.parent.report()
        verdict = report.verdicts[self.at]
        if verdict.verdict == "inconclusive" and report.file.inconclusive == "pass":
            pytest.skip(f"inconclusive: {verdict.why}")
        _hold(report, self.at)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"gate {self.name}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        return (
            str(excinfo.value) if excinfo.errisinstance(pytest.fail.Exception) else super().repr_failure(excinfo, style)
        )


@pytest.fixture(scope="session")
def robustness_gate(request: pytest.FixtureRequest) -> RobustnessGate:
    """``robustness_gate(model, task, scenario, min=0.6)``: evaluate a model and fail unless the
    gate passes.

    Args of the function:
        model, task: names or references, as on the command line.
        scenario: the attack; None, where other keys of a gate select.
        samples: the number of test samples.
        baseline: for `max_drop`, a run or a file that `bless` wrote.
        keys: of a gate, such as `min`, `max_drop` or `measure`.
    """

    def gate(
        model: str,
        task: str,
        scenario: str | None = None,
        *,
        samples: int | str = SAMPLES,
        baseline: str | None = None,
        **keys: Any,
    ) -> None:
        __tracebackhide__ = True
        with _one_sentence():
            from harness.gates.file import GatesFile, gate_of
            from harness.gates.gating import judge
            from harness.run.directory import RunDirectory

            limit = gate_of(model=model, task=task, scenario=scenario, **keys)
            run = _evaluated(request.config, [limit], str(samples))
            report = judge(RunDirectory(run), GatesFile(gates=(limit,)), "gates", baseline)
        _hold(report, 0)

    return gate


def _hold(report: Report, at: int) -> None:
    __tracebackhide__ = True
    verdict = report.verdicts[at]
    if verdict.verdict != "pass":
        pytest.fail(f"{verdict.verdict}: {verdict.gate}, but it is {verdict.result}: {verdict.why}", pytrace=False)


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Inside the block, bad input fails the test with its one sentence."""
    from attacks.errors import BadInput

    try:
        yield
    except BadInput as error:
        failure = pytest.fail.Exception(str(error), pytrace=False)
        failure.__suppress_context__ = True
        raise failure from None


def _evaluated(config: pytest.Config, gates: Iterable[Gate], samples: str) -> str:
    """The run directory of an evaluation that some gates need; once per session, in a temporary
    folder.
    """
    from rich.console import Console

    from harness.commands.evaluate import evaluate
    from harness.gates.needs import evaluation_for
    from harness.run.config import dump

    wanted = evaluation_for(list(gates), samples)
    runs = config.stash.setdefault(RUNS, {})
    key = dump(wanted)
    if key not in runs:
        folder = TemporaryDirectory(prefix="robustness-")
        config.add_cleanup(folder.cleanup)
        out = f"{folder.name}/run"
        evaluate(wanted.model_copy(update={"out": out}), Console(quiet=True))
        runs[key] = out
    return runs[key]
