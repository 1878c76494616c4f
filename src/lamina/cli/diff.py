"""`lamina diff`."""

import sys

import click


@click.command("diff")
@click.argument("first")
@click.argument("second")
@click.option("--tolerance", type=float, default=0.0, show_default=True, help="How far apart two equal numbers may be.")
def command(first: str, second: str, tolerance: float) -> None:
    """Show how the layers, shapes and values of two files differ. Ends with 1 if they do.

    The files may be of different kinds; layers without a partner of the same name are compared in order.
    """
    from lamina.saving.describe import describe, differences

    one, two = describe(first), describe(second)
    for note in (*one.notes, *two.notes):
        click.echo(note, err=True)
    found = differences(one, two, tolerance)
    if not found:
        click.echo(f"{first} and {second} hold the same {sum(line.parameters for line in one.layers):,} numbers.")
        return
    width = max(len(f"{d.layer} {d.part}".rstrip()) for d in found)
    for d in found:
        click.echo(f"{f'{d.layer} {d.part}'.rstrip():<{width}}  {d.text}")
    sys.exit(1)
