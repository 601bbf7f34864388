"""The command line: ``python -m harness VERB``. Heavy imports wait until a verb needs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="How a multimodal model fails: under attack on one input or several, and when inputs go missing.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)

Many = list[str]
DataRoot = Annotated[str | None, typer.Option(help="The folder of data sets, one folder each. [$ROBUSTNESS_DATA]")]
Code = Annotated[
    Many | None, typer.Option(help="A file or module of yours that the run names and that may be run; repeatable.")
]
INTERRUPTED = 130


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def evaluate(context: typer.Context) -> Any:
    """Find each sample's critical strength under every scenario, and the score as modalities go
    missing or get corrupted.
    """
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
    out: Annotated[str, typer.Argument(help="The run directory to make.")],
    runs: Annotated[Many, typer.Argument(help="The run directories of the shards of one run.")],
    code: Code = None,
    data_root: DataRoot = None,
) -> None:
    """Put the shards of a run together; check and summarise the whole as `evaluate` would have."""
    from rich.console import Console

    from harness.commands.merge import merge as run
    from harness.tasks.files.dataroot import use

    use(data_root)
    sys.exit(run(out, runs, _console(Console), code or ()))


@app.command()
def train(
    model: Annotated[str, typer.Option(help="The model: a name or file.py:object.")],
    task: Annotated[str, typer.Option(help="What to train on.")] = "digits",
    data_root: DataRoot = None,
    recipe: Annotated[
        str, typer.Option(help="How to train; options of a recipe as in 'byol?momentum=0.99'.")
    ] = "supervised",
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    epochs: Annotated[
        int | None, typer.Option(help="At most so many; the recipe's own number if absent.", min=1)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[str | None, typer.Option(help="The checkpoint. [checkpoints/TASK/MODEL.safetensors]")] = None,
    train_missing: Annotated[
        Many | None,
        typer.Option(
            help=(
                "A share of training samples lacks a modality, 'audio:0,0.9' or 'mcar:0.3'; a checkpoint per rate;"
                " repeatable."
            )
        ),
    ] = None,
    train_samples: Annotated[
        int | None, typer.Option(help="Of the training split, chosen by the seed; all if absent.", min=1)
    ] = None,
) -> None:
    """Train a model by a recipe; write a checkpoint that --model takes, and its card."""
    from rich.console import Console

    from harness.commands.train import train as run
    from harness.training.train import Training

    training = Training(task, model, recipe, seed, epochs, device, out, tuple(train_missing or ()), train_samples)
    run(training, data_root, _console(Console))


@app.command("list")
def list_names(as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False) -> None:
    """Show every task, model, recipe, search, attack, schedule and corruption there is, and how
    scenarios are written.
    """
    from harness.commands.listing import as_object, as_text

    print(as_object() if as_json else as_text())


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="A run directory.")],
    html: Annotated[str | None, typer.Option(help="Where to write the page. [RUN/report.html]")] = None,
    markdown: Annotated[
        str | None, typer.Option(help="Where to write the tables for a pull request; - prints them only.")
    ] = None,
) -> None:
    """Print a run's table again, and write its curves as one self-contained HTML page; or its
    tables as Markdown.
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
        bool, typer.Option("--files", help="Check the files instead: checksums, copies, rows of other runs, orphans.")
    ] = False,
) -> None:
    """Re-check every stored witness of a run from disk; exit 3 if one fails."""
    if files:
        from harness.commands.filecheck import verify_files

        sys.exit(verify_files(run))
    from harness.commands.verify import verify_witnesses

    sys.exit(verify_witnesses(run, code or (), data_root))


@app.command()
def gate(
    run: Annotated[str, typer.Argument(help="A run directory.")],
    gates: Annotated[str, typer.Option(help="The gates file (docs/gates.md).")] = "gates.yaml",
    baseline: Annotated[str | None, typer.Option(help="For gates of drops: a run, or a file that bless wrote.")] = None,
    junit: Annotated[str | None, typer.Option(help="Also write the verdicts here, as JUnit XML.")] = None,
    sarif: Annotated[str | None, typer.Option(help="The same as SARIF.")] = None,
    markdown: Annotated[
        str | None, typer.Option(help="The same as Markdown, changes first, for a pull request.")
    ] = None,
    json: Annotated[str | None, typer.Option(help="The same as JSON.")] = None,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Say how many samples would decide an inconclusive gate.")
    ] = False,
) -> None:
    """Hold a run against limits; exit 3 if a gate fails, 4 if one cannot be told (or what the file
    says instead).
    """
    from rich.console import Console

    from harness.commands.gate import gate as judge

    files = {"junit": junit, "sarif": sarif, "markdown": markdown, "json": json}
    sys.exit(judge(run, gates, baseline, files, suggest, _console(Console)))


@app.command()
def bless(
    run: Annotated[str, typer.Argument(help="A run directory.")],
    out: Annotated[str, typer.Option(help="The file to write, to be committed.")] = "baseline.parquet",
) -> None:
    """Freeze a complete run into one small file, the baseline that gates of drops are against."""
    from harness.commands.bless import bless as freeze

    freeze(run, out)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="A run directory, or a file that bless wrote.")],
    b: Annotated[str, typer.Argument(help="Another, of the same samples.")],
) -> None:
    """Print what changed from A to B on the same samples, with intervals."""
    from rich.console import Console

    from harness.commands.compare import compare as show

    show(a, b, _console(Console))


@app.command()
def reproduce(
    study: Annotated[str, typer.Argument(help="fusion, missing, counting or contrastive.")],
    small: Annotated[
        bool, typer.Option("--small", help="A few minutes: everything runs, its numbers mean nothing.")
    ] = False,
    work: Annotated[str, typer.Option(help="Where checkpoints and runs are kept while a study is made.")] = "results",
    page: Annotated[
        str | None, typer.Option(help="The page. [docs/results/STUDY.md; small: WORK/STUDY-small/STUDY.md]")
    ] = None,
    only: Annotated[
        Many | None, typer.Option(help="One of the study's settings, as digits or '10 %'; may be repeated. [all]")
    ] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Train nothing: the page of the seeds that are recorded whole.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(help="Trials at a time. [one per core; on a GPU 1]", min=1)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    spot_check: Annotated[
        int, typer.Option(help="So many recorded trials are done again, to see whether numbers move.", min=0)
    ] = 0,
    data_root: DataRoot = None,
) -> None:
    """Train and evaluate what a study of the lecture needs, over seeds, and write its tables; go on
    where it stopped.
    """
    from rich.console import Console

    from harness.reproduce import ReproduceOptions
    from harness.reproduce import reproduce as run
    from harness.tasks.files.dataroot import use

    use(data_root)
    run(
        ReproduceOptions(study, small, work, page, tuple(only or ()), recorded, jobs, device, spot_check),
        _console(Console),
    )


@app.command()
def dashboard(
    runs: Annotated[Many | None, typer.Argument(help="Folders of runs, or runs; paths or URLs. [runs]")] = None,
    port: Annotated[int | None, typer.Option(help="The port of localhost to serve on. [the first free one]")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser. [browser]")] = True,
    token: Annotated[
        bool, typer.Option("--token", help="Serve only who opens the address that is printed; opens no browser.")
    ] = False,
    data_root: DataRoot = None,
) -> None:
    """Look at runs in a browser, also while they are being written; nothing is changed, and only
    this machine is served.
    """
    from harness.commands.dashboard import serve

    serve(runs or [], port, browser, data_root, token)


@app.command()
def init(path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("harness.yaml")) -> None:
    """Write a commented configuration, to be run with `evaluate --config`."""
    from harness.commands.init import init as write

    write(path)


def _console(console: Any) -> Any:
    """As wide as the terminal; where there is none, as wide as any table: nothing is cut off."""
    return console() if sys.stdout.isatty() else console(width=100_000)


def main() -> None:
    """Run the command line; see design.md for the exit codes."""
    from harness.storage.output import open_streams, patient_streams

    open_streams()
    with patient_streams():
        _run()


def _run() -> None:
    from attacks.errors import BadInput

    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # what it makes of Ctrl-C
            raise KeyboardInterrupt
    except BadInput as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        resumed = (
            "; the same command goes on where it stopped"
            if sys.argv[1:2] in (["evaluate"], ["merge"], ["reproduce"])
            else ""
        )
        print(f"interrupted{resumed}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)  # type: ignore[attr-defined]
            sys.exit(2)
        if hasattr(error, "format_message"):  # a usage error of the command line's own
            _refuse(error.format_message())
        raise


def _refuse(message: str) -> None:
    from attacks.errors import plain

    print(f"error: {plain(message)}", file=sys.stderr)
    sys.exit(2)
