"""`lamina convert`."""

import click

from lamina.cli.options import PASSED_ON, given


class _WithFormats(click.Command):
    """A command whose help lists the formats; they cost an import."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from lamina.interop import FORMATS

        rows = [("keras", "Keras (.keras; .h5 of Keras 2 is read)")]
        for form in FORMATS.values():
            can = "" if form.reads and form.writes else ", read only" if form.reads else ", written only"
            options = [f"--{name.replace('_', '-')}" for name in {*form.options("read"), *form.options("write")}]
            takes = f"; takes {', '.join(sorted(options))}" if options else ""
            rows.append((form.name, f"{form.title} ({', '.join(form.suffixes)}{can}{takes})"))
        with formatter.section("Formats"):
            formatter.write_dl(rows)


@click.command(
    "convert",
    cls=_WithFormats,
    context_settings=PASSED_ON,
    options_metavar="[OPTIONS] [--NAME VALUE]...",
)
@click.argument("source")
@click.argument("target")
@click.option("--to", metavar="FORMAT", help="What to write, if the ending of TARGET does not say it.")
@click.option(
    "--check/--no-check", default=True, show_default=True, help="Run the same 64 inputs in both files' own runtimes."
)
@click.pass_context
def command(ctx: click.Context, source: str, target: str, to: str | None, check: bool) -> None:
    """Write the model of one file to a file of another kind.

    Options of the reader or the writer are passed as --NAME VALUE, or --NAME alone for yes.
    """
    options = given(ctx.args)
    from lamina.saving import convert

    done = convert(source, target, to=to, check=check, **options)
    click.echo(f"{source} -> {target}: {done.model.count_params():,} parameters")
    for line in (*done.notes, *done.comparisons):
        click.echo(f"  {line}")
