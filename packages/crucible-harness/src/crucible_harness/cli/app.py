"""The commands and their order in the help."""

import typer

from crucible_harness.cli import after, before, importing, kit, running, studying

app = typer.Typer(
    help="Experiments on language models: reproducible, paired by item, and honest about what "
    "follows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    running.quickstart,
    before.estimate,
    before.plan,
    before.preregister,
    running.run,
    running.resume,
    running.status,
    after.report,
    after.verify,
    after.compare,
    after.cite,
    studying.studies,
    studying.study,
    kit.datasets,
    kit.models,
    kit.doctor,
):
    app.command()(command)
app.command(name="import")(importing.import_)
