"""The command line: ``python -m harness VERB``. Each verb imports its packages when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.reproduce import ALL as EVERY_STUDY
from harness.reproduce import NAMES as STUDIES

app = typer.Typer(
    help="Measure how a multimodal model fails: under attack on one or more inputs, and with inputs missing.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)

Many = list[str]
DataRoot = Annotated[
    str | None, typer.Option(help="The data folder, which holds one folder for each data set. [$ROBUSTNESS_DATA]")
]
Code = Annotated[
    Many | None, typer.Option(help="A Python file or module that the run names and that you trust; repeatable.")
]
INTERRUPTED = 130


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def evaluate(context: typer.Context) -> Any:
    """Measure scores with inputs attacked, missing or corrupted."""
    from harness.commands.flags import evaluation

    return evaluation(lambda options: _evaluate(**options))(
        context.args, prog_name=context.command_path, standalone_mode=False
    )


def _evaluate(config: Path | None, **flags: Any) -> None:
    from rich.console import Console

    from harness.commands.evaluate import evaluate as run
    from harness.run.config import resolve

    sys.exit(run(resolve(config, flags), _console(Console)))


@app.command()
def merge(
    out: Annotated[str, typer.Argument(help="The run directory to write.")],
    runs: Annotated[Many, typer.Argument(help="The run directories of the shards of one run.")],
    code: Code = None,
    data_root: DataRoot = None,
) -> None:
    """Join the shards of a run. Then check and summarise the run as `evaluate` does."""
    from rich.console import Console

    from harness.commands.merge import merge as run
    from harness.tasks.files.dataroot import use

    use(data_root)
    sys.exit(run(out, runs, _console(Console), code or ()))


@app.command()
def train(
    model: Annotated[str, typer.Option(help="The model to train: a name or file.py:object.")],
    task: Annotated[str, typer.Option(help="The task to train on: a name or file.py:object.")] = "digits",
    data_root: DataRoot = None,
    recipe: Annotated[
        str, typer.Option(help="The recipe; its options follow a question mark: 'byol?momentum=0.99'.")
    ] = "supervised",
    seed: Annotated[int, typer.Option(help="The seed of all random numbers.")] = 0,
    epochs: Annotated[
        int | None,
        typer.Option(help="The maximum number of epochs; by default, the number that the recipe sets.", min=1),
    ] = None,
    device: Annotated[str, typer.Option(help="The device: auto, cpu or cuda.")] = "auto",
    out: Annotated[
        str | None, typer.Option(help="The path of the checkpoint. [checkpoints/TASK/MODEL.safetensors]")
    ] = None,
    train_missing: Annotated[
        Many | None,
        typer.Option(
            help=(
                "The share of training samples in which a modality is missing, such as 'audio:0,0.9' or 'mcar:0.3'; one"
                " checkpoint for each rate; repeatable."
            )
        ),
    ] = None,
    train_samples: Annotated[
        int | None, typer.Option(help="The number of training samples, chosen by the seed; by default all.", min=1)
    ] = None,
) -> None:
    """Train a model by a recipe, and write its checkpoint. A checkpoint card (JSON with metrics,
    versions, seed and command) is written beside it.
    """
    from rich.console import Console

    from harness.commands.train import train as run
    from harness.training.train import Training

    training = Training(task, model, recipe, seed, epochs, device, out, tuple(train_missing or ()), train_samples)
    run(training, data_root, _console(Console))


@app.command("list")
def list_names(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List every registered name, and how to write scenarios. The names are those of tasks, models,
    recipes, searches, attacks, schedules and corruptions.
    """
    from harness.commands.listing import as_object, as_text

    print(as_object() if as_json else as_text())


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="A run directory.")],
    html: Annotated[
        str | None,
        typer.Option(help="The HTML page to write. [RUN/report.html; with --markdown: no page unless you name one]"),
    ] = None,
    markdown: Annotated[
        str | None,
        typer.Option(
            help="The Markdown file to write, for a pull request; '-' prints the Markdown and writes no file."
        ),
    ] = None,
) -> None:
    """Print the tables of a run, and write its HTML page. The page shows the curves, and needs no
    network.
    """
    from rich.console import Console

    from harness.commands.report import report as show

    show(run, html, markdown, _console(Console))


@app.command()
def verify(
    run: Annotated[str, typer.Argument(help="A run directory.")],
    code: Code = None,
    data_root: DataRoot = None,
    files: Annotated[
        bool,
        typer.Option(
            "--files", help="Check the files, not the witnesses: checksums, copies, rows of other runs, unknown files."
        ),
    ] = False,
) -> None:
    """Check every stored witness of a run again. Exit 3 if a witness is not valid."""
    if files:
        from harness.commands.filecheck import verify_files

        sys.exit(verify_files(run))
    from harness.commands.verify import verify_witnesses

    sys.exit(verify_witnesses(run, code or (), data_root))


@app.command()
def gate(
    run: Annotated[str, typer.Argument(help="A run directory.")],
    gates: Annotated[str, typer.Option(help="The gates file (docs/gates.md).")] = "gates.yaml",
    baseline: Annotated[
        str | None,
        typer.Option(help="The baseline of max_drop and max_rise: a run, or a file that bless wrote."),
    ] = None,
    junit: Annotated[str | None, typer.Option(help="Write the verdicts to this file as JUnit XML.")] = None,
    sarif: Annotated[str | None, typer.Option(help="Write the verdicts to this file as SARIF.")] = None,
    markdown: Annotated[
        str | None,
        typer.Option(
            help=(
                "Write the verdicts to this file as Markdown for a pull request; gates on changes (max_drop, max_rise)"
                " come first."
            )
        ),
    ] = None,
    json: Annotated[str | None, typer.Option(help="Write the verdicts to this file as JSON.")] = None,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Print how many samples would decide each inconclusive gate.")
    ] = False,
) -> None:
    """Check a run against gates. Exit 3 if a gate fails; otherwise 4 if a gate is inconclusive
    (`inconclusive` in the gates file can change this code to 3 or 0).
    """
    from rich.console import Console

    from harness.commands.gate import gate as judge

    files = {"junit": junit, "sarif": sarif, "markdown": markdown, "json": json}
    sys.exit(judge(run, gates, baseline, files, suggest, _console(Console)))


@app.command()
def bless(
    run: Annotated[str, typer.Argument(help="A run directory.")],
    out: Annotated[str, typer.Option(help="The file to write; commit it.")] = "baseline.parquet",
) -> None:
    """Make a complete run the baseline of gates. The baseline is one small file. Gates with
    max_drop or max_rise compare another run with it.
    """
    from harness.commands.bless import bless as freeze

    freeze(run, out)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="The run before the change: a run directory, or a file that `bless` wrote.")],
    b: Annotated[str, typer.Argument(help="The run after the change, on the same samples.")],
) -> None:
    """Print the changes from run A to run B, with intervals. The runs are compared on the same
    samples.
    """
    from rich.console import Console

    from harness.commands.compare import compare as show

    show(a, b, _console(Console))


@app.command()
def reproduce(
    study: Annotated[
        str,
        typer.Argument(help=f"The study: {', '.join(STUDIES)}; or {EVERY_STUDY}, one after another."),
    ],
    small: Annotated[
        bool, typer.Option("--small", help="Run every step in a few minutes; the numbers mean nothing.")
    ] = False,
    work: Annotated[str, typer.Option(help="The folder for checkpoints and runs of the study.")] = "results",
    page: Annotated[
        str | None, typer.Option(help="The page to write. [docs/results/STUDY.md; small: WORK/STUDY-small/STUDY.md]")
    ] = None,
    only: Annotated[
        Many | None,
        typer.Option(help="Run only this setting of the study, such as digits or '10 %'; repeatable. [all]"),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Also run the settings that take longest.")] = False,
    recorded: Annotated[
        bool,
        typer.Option("--recorded", help="Do not train. Write the page from the seeds that have complete records."),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(help="The number of trials that run at the same time. [one per core; 1 on a GPU]", min=1),
    ] = None,
    device: Annotated[str, typer.Option(help="The device: auto, cpu or cuda.")] = "auto",
    spot_check: Annotated[
        int,
        typer.Option(help="The number of recorded trials to run again, to see whether their numbers change.", min=0),
    ] = 0,
    data_root: DataRoot = None,
) -> None:
    """Train and evaluate the systems of a study. Each system is trained with several seeds, and the
    results are written to a page. If the study was stopped, the same command resumes it.
    """
    from rich.console import Console

    from harness.reproduce.studies import ReproduceOptions, reproduce_all
    from harness.reproduce.studies import reproduce as reproduce_one
    from harness.tasks.files.dataroot import use

    use(data_root)
    run = reproduce_all if study == EVERY_STUDY else reproduce_one
    run(
        ReproduceOptions(study, small, work, page, tuple(only or ()), recorded, jobs, device, spot_check, full),
        _console(Console),
    )


@app.command()
def dashboard(
    runs: Annotated[Many | None, typer.Argument(help="Runs, or folders of runs: paths or URLs. [runs]")] = None,
    port: Annotated[int | None, typer.Option(help="The port on localhost. [the first free one]")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
    token: Annotated[
        bool,
        typer.Option(
            "--token",
            help="Answer only a browser that opens the printed address. The dashboard then does not open a browser.",
        ),
    ] = False,
    data_root: DataRoot = None,
) -> None:
    """Show runs in a browser, also while they are being written. The dashboard changes no run, and
    is reachable from this machine only.
    """
    from harness.commands.dashboard import serve

    serve(runs or [], port, browser, data_root, token)


@app.command()
def init(path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("harness.yaml")) -> None:
    """Write a commented configuration for `evaluate --config`."""
    from harness.commands.init import init as write

    write(path)


def _console(console: Any) -> Any:
    """A console as wide as the terminal. Output to a file or pipe is never cut off."""
    return console() if sys.stdout.isatty() else console(width=100_000)


def main() -> None:
    """Run the command line; docs/start.md lists the exit codes."""
    from harness.storage.output import open_streams, patient_streams

    open_streams()
    with patient_streams():
        _run()


def _run() -> None:
    from attacks.errors import BadInput

    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # typer returns this after Ctrl-C
            raise KeyboardInterrupt
    except BadInput as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        resumed = sys.argv[1:2] in (["evaluate"], ["merge"], ["reproduce"])
        print("interrupted" + "; the same command goes on where it stopped" * resumed, file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)  # type: ignore[attr-defined]
            sys.exit(2)
        if hasattr(error, "format_message"):  # a usage error of typer
            _refuse(error.format_message())
        raise


def _refuse(message: str) -> None:
    from attacks.errors import plain

    print(f"error: {plain(message)}", file=sys.stderr)
    sys.exit(2)
