"""The ``ghostpoint`` command. What is heavy is imported by the subcommand that needs it: help is
instant.
"""

from __future__ import annotations

import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ghostpoint._version import __version__
from ghostpoint.errors import InputError

if TYPE_CHECKING:
    from ghostpoint.command.reproduce import Outcome


_EXAMPLES = """\b
Examples:
  ghostpoint reproduce                              every experiment, some minutes
  ghostpoint reproduce --only toy_loss,collapse     two of them
  ghostpoint reproduce --scale paper --out paper    at full size; all of them take hours
  ghostpoint reproduce --scale paper --out paper --resume
                                                    go on after Ctrl-C, a crash or a failure
  ghostpoint report --open ghostpoint-report        make the report again and show it, run nothing
  ghostpoint slow-points weights.npz --figure f.png fixed points and ghosts of a network
  ghostpoint diagnose history.csv --figure loss.png what phase a training is in, and why
  ghostpoint diagnose --follow run.jsonl            the same while the record is written
  ghostpoint sweep grid.toml --out grid             train a grid of networks; again to go on
  ghostpoint plot grid --x learning_rate --y delay  its phase diagram
  ghostpoint explore                                the theory and a training, live in the browser
  ghostpoint explore run.zip                        scrub through a saved run
"""

#: exit status after a fault of this program (EX_SOFTWARE of sysexits.h)
FAULT = 70
_FAULT = f"""
This is a fault of ghostpoint {__version__}, not of what you gave it. Please report it where you got ghostpoint,
with the lines above and the command that you ran."""

app = typer.Typer(
    help="Abrupt learning in recurrent networks: every published experiment, from one command.",
    epilog=_EXAMPLES,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Cluster = Annotated[
    str | None, typer.Option(help="Start a Dask cluster: local, slurm, pbs, lsf, sge or ssh.", metavar="KIND")
]
Scheduler = Annotated[str | None, typer.Option(help="Of a Dask cluster that runs.", metavar="ADDRESS")]
ClusterOptions = Annotated[
    list[str] | None, typer.Option(help="For the cluster, such as walltime=02:00:00.", metavar="KEY=VALUE")
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ghostpoint {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def reproduce(
    scale: Annotated[
        str, typer.Option(help="quick: fewer networks and epochs; paper: as published.", metavar="NAME")
    ] = "quick",
    only: Annotated[
        list[str] | None, typer.Option(help="Only these experiments; see ghostpoint list.", metavar="ID,ID")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for data, figures and report.", metavar="DIR")] = Path(
        "ghostpoint-report"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Keep what is finished in DIR and go on.")] = False,
    threads: Annotated[int | None, typer.Option(help="Workers of the cluster.", min=1)] = None,
    cluster: Cluster = None,
    scheduler: Scheduler = None,
    option: ClusterOptions = None,
) -> None:
    """Run the published experiments and write a report.

    Saves each experiment when it is finished and writes DIR/report.html again. On a cluster the
    parts of an experiment are computed by its workers, which must see DIR. Exit status: 0 if all
    ran, 1 if one failed, 2 for wrong usage, 130 after Ctrl-C.
    """
    from rich.console import Console

    from ghostpoint.command.cluster import spreading
    from ghostpoint.command.progress import watcher
    from ghostpoint.command.reproduce import reproduce
    from ghostpoint.command.warm_up import warming_up

    ids = None if only is None else _ids(only)
    console = Console(highlight=False)
    # one experiment is sooner done than a second process has compiled anything
    warm = warming_up() if ids is None and cluster is None and scheduler is None else nullcontext()
    with spreading(cluster, scheduler, threads, option) as spread, watcher(console) as watching, warm:
        outcome = reproduce(ids, scale, out, resume=resume, watcher=watching, spread=spread)
    if outcome.interrupted:
        total = len(outcome.finished) + len(outcome.remaining)
        finished = ", ".join(outcome.finished) or "nothing"
        typer.echo(
            f"Interrupted: {len(outcome.finished)} of {total} finished ({finished}) and in {outcome.report}; "
            "the same command with --resume goes on.",
            err=True,
        )
        raise typer.Exit(130)
    _ending(outcome, "; the same command with --resume tries again")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A folder made by reproduce.", metavar="DIR")],
    open_it: Annotated[bool, typer.Option("--open", help="Show the report in the browser.")] = False,
) -> None:
    """Make the report again from saved data."""
    from ghostpoint.command.reproduce import redraw

    outcome = redraw(folder)
    if open_it:
        import webbrowser

        webbrowser.open(outcome.report.resolve().as_uri())
    _ending(outcome)


def _ending(outcome: Outcome, advice: str = "") -> None:
    """Say what failed, with ``advice``, and where the report is; exit with status 1 after a
    failure.
    """
    if outcome.failed:
        failed = ", ".join(outcome.failed)
        typer.echo(f"{len(outcome.failed)} failed: {failed}. The report says why{advice}.", err=True)
    typer.echo(f"Report: {outcome.report}")
    if outcome.failed:
        raise typer.Exit(1)


@app.command("list")
def list_experiments() -> None:
    """List the experiments: id, published figure, title."""
    from ghostpoint import experiments

    rows = [(id, experiments.get(id)) for id in experiments.IDS]
    ids, figures = max(len(id) for id, _ in rows), max(len(row.figure) for _, row in rows)
    for id, experiment in rows:
        typer.echo(f"{id:{ids}}  {experiment.figure:{figures}}  {experiment.title}")


@app.command()
def diagnose(
    file: Annotated[
        Path,
        typer.Argument(
            help="A record of a training as tools write it: table, log, JSON, NumPy, TensorBoard, ... or a saved run; "
            "- for the standard input.",
            metavar="FILE",
        ),
    ],
    figure: Annotated[Path | None, typer.Option(help="Draw the annotated loss curves.", metavar="OUT.png")] = None,
    run: Annotated[
        str | None, typer.Option("--run", "--network", help="One run of many, by its name or number.", metavar="NAME")
    ] = None,
    step: Annotated[str | None, typer.Option(help="Name of the step in FILE.", metavar="NAME")] = None,
    loss: Annotated[str | None, typer.Option(help="Name of the loss in FILE.", metavar="NAME")] = None,
    accuracy: Annotated[str | None, typer.Option(help="Name of the accuracy in FILE.", metavar="NAME")] = None,
    classes: Annotated[int | None, typer.Option(help="Equally frequent classes: says chance.", metavar="K")] = None,
    targets: Annotated[Path | None, typer.Option(help="Wanted answers: say chance.", metavar="FILE")] = None,
    chance_loss: Annotated[float | None, typer.Option(help="Loss at chance; inferred otherwise.")] = None,
    chance_accuracy: Annotated[float | None, typer.Option(help="Accuracy at chance; inferred otherwise.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON in place of the text.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on while FILE grows, until Ctrl-C.")] = False,
) -> None:
    """Say what phase a training is in, and why."""
    from ghostpoint.command.diagnose import diagnose_file, follow_file

    options: dict[str, Any] = {
        "figure": figure, "run": run, "step": step, "loss": loss, "accuracy": accuracy,
        "classes": classes, "targets": targets, "chance_loss": chance_loss, "chance_accuracy": chance_accuracy,
        "as_json": as_json,
    }  # fmt: skip
    if not follow:
        typer.echo(diagnose_file(file, **options))
        return
    try:
        for text in follow_file(file, **options):
            typer.echo(text)
    except KeyboardInterrupt:
        return


@app.command("slow-points")
def slow_points(
    weights: Annotated[
        Path,
        typer.Argument(help="Weights: npz, npy, safetensors, pt, ckpt, h5, keras, mat, or a run.", metavar="WEIGHTS"),
    ],
    network: Annotated[int, typer.Option(help="Which network of a stack.", metavar="I")] = 0,
    starts: Annotated[int | None, typer.Option(help="Starts; by default as many as are worth it.", metavar="N")] = None,
    seed: Annotated[int, typer.Option(help="Of the starts.", metavar="S")] = 0,
    inputs: Annotated[str | None, typer.Option(help="A constant input.", metavar="U,U")] = None,
    states: Annotated[Path | None, typer.Option(help="States to start near: npy, npz or csv.", metavar="FILE")] = None,
    equation: Annotated[str, typer.Option(help="What W acts in: rate, phi(W x), or voltage, W phi(v).")] = "rate",
    activation: Annotated[
        str | None, typer.Option(help="tanh (unless the file says another), sigmoid, relu or softplus.")
    ] = None,
    low_rank_scale: Annotated[str | None, typer.Option(help="W is m n^T times 1 or 1/N.", metavar="1|1/N")] = None,
    transpose: Annotated[bool, typer.Option("--transpose", help="The weights act from the right, x W.")] = False,
    tau: Annotated[float | None, typer.Option(help="In ms, with --dt; times in units of tau otherwise.")] = None,
    dt: Annotated[float | None, typer.Option(help="In ms, with --tau; the map with dt = tau otherwise.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the flow.", metavar="OUT.png")] = None,
    out: Annotated[Path | None, typer.Option(help="Save the points.", metavar="OUT.zarr.zip")] = None,
    passages: Annotated[bool, typer.Option("--passages", help="How long each ghost holds the network.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON in place of the table.")] = False,
) -> None:
    """Find the fixed points and ghosts of a network, with proof."""
    from rich.console import Console

    from ghostpoint.command.slow_points import Output, Reading, find_in_file

    # on a terminal a line says how far a long search is; elsewhere nothing does
    with Console(stderr=True).status("reading") as line:
        text = find_in_file(
            weights, network=network, starts=starts, seed=seed, inputs=inputs, states=states, tau=tau, dt=dt,
            reading=Reading(equation, activation, low_rank_scale, transpose),
            output=Output(figure, out, passages, as_json), progress=line.update,
        )  # fmt: skip
    typer.echo(text)


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="The sweep, TOML; see docs/sweeps.md.", metavar="FILE")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; resumed if it is there.", metavar="DIR")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it takes, with a small probe.")] = False,
    threads: Annotated[int | None, typer.Option(help="Cores to use, or workers of the cluster.", min=1)] = None,
    cluster: Cluster = None,
    scheduler: Scheduler = None,
    option: ClusterOptions = None,
    shard: Annotated[str | None, typer.Option(help="Only the I-th of N shares: for job arrays.", metavar="I/N")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try shards again that failed.")] = False,
) -> None:
    """Train every network of a grid, and keep each where it is done.

    The same command goes on after Ctrl-C, a crash or power loss, and computes what is new of a
    larger grid. Exit status: 0 if all is done, 1 if a shard failed, 2 for wrong usage, 130 after
    Ctrl-C.
    """
    from rich.console import Console

    from ghostpoint.command.cluster import options_of
    from ghostpoint.command.sweep import describe, run_sweep

    options = options_of(option)
    if dry_run:
        typer.echo(describe(file, out, threads, cluster, options))
        return
    if out is None:
        raise InputError("--out must name the folder of the results (or give --dry-run)")
    ended = run_sweep(
        file, out, Console(highlight=False), threads=threads, cluster=cluster, scheduler=scheduler,
        options=options, share=shard, retry=retry,
    )  # fmt: skip
    typer.echo(ended.line)
    if ended.interrupted or ended.failed:
        raise typer.Exit(130 if ended.interrupted else 1)


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="A folder of ghostpoint sweep.", metavar="DIR")],
    follow: Annotated[bool, typer.Option("--follow", help="Again every two seconds, until Ctrl-C.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Have failed shards tried again.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Read every file; set damaged ones aside.")] = False,
    export: Annotated[
        Path | None, typer.Option(help="Write the results: .zarr, .nc, .parquet or .csv.", metavar="OUT")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON in place of the text.")] = False,
) -> None:
    """Say how a sweep stands, also while it runs."""
    from ghostpoint.command.status import follow_status, status_of

    if not follow:
        typer.echo(status_of(folder, retry=retry, as_json=as_json, check=check, export_to=export))
        return
    try:
        for text in follow_status(folder):
            typer.echo(text)
    except KeyboardInterrupt:
        return


@app.command()
def plot(
    folder: Annotated[Path, typer.Argument(help="A folder of ghostpoint sweep.", metavar="DIR")],
    x: Annotated[str, typer.Option("--x", help="An axis of the grid, or epoch.", metavar="AXIS")],
    y: Annotated[str | None, typer.Option("--y", help="Another axis.", metavar="AXIS")] = None,
    value: Annotated[
        str, typer.Option(help="lost, learned, solved, epochs, loss, critical or predicted.", metavar="NAME")
    ] = "lost",
    out: Annotated[Path | None, typer.Option(help="Both OUT.svg and OUT.png.", metavar="OUT")] = None,
) -> None:
    """Draw a phase diagram of a sweep, as SVG and PNG."""
    from ghostpoint.command.plot import plot_sweep

    typer.echo(plot_sweep(folder, x, y, value, out))


@app.command()
def explore(
    path: Annotated[
        Path | None, typer.Argument(help="A saved run, a record of a training, or a folder of runs.", metavar="[PATH]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the page to a file and serve nothing.", metavar="OUT.html")
    ] = None,
    port: Annotated[int, typer.Option(help="Of the loopback interface; any free one otherwise.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")] = True,
) -> None:
    """See the theory, train a network in the page, or scrub through a saved run."""
    from ghostpoint.command.explore import explore

    explore(path, out=out, port=port, open_browser=browser, say=typer.echo)


def _ids(only: list[str]) -> list[str]:
    """The ids of ``--only``, given once with commas or several times."""
    ids = [id.strip() for text in only for id in text.split(",") if id.strip()]
    if not ids:
        raise InputError("--only must name an experiment: ghostpoint list shows them")
    return ids


def run(arguments: list[str]) -> int:
    """Run the command with ``arguments`` and return its exit status.

    A wrong input is one line on stderr and status 2. A fault of this program keeps its traceback
    and has status 70.
    """
    try:
        status = app(args=arguments, prog_name="ghostpoint", standalone_mode=False)
    except (InputError, OSError, MemoryError) as error:
        return _refuse(str(error) or type(error).__name__)
    except typer.Abort:
        typer.echo("Interrupted.", err=True)
        return 130
    except Exception as error:
        # A usage error: from typer's own copy of click, or from click itself in older releases of
        # typer.
        message = getattr(error, "format_message", None)
        if message is None:
            traceback.print_exc()
            typer.echo(_FAULT, err=True)
            return FAULT
        return _refuse(message())
    return status if isinstance(status, int) else 0


def _refuse(message: str) -> int:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    return 2


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
