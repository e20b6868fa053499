"""How the program lists its commands: whole sentences, in sections, and near names for a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

import click

LONG: Final = 200
"""So many characters of a command's first sentence are shown in a list; the terminal's width wraps them."""


def examples(*lines: str) -> str:
    r"""Make the end of a command's help: command lines as one types them.

    Args:
        lines: each a whole command line, at most 76 characters, so that it fits 80 columns. One that ends in
            ``\`` goes on in the next.

    Returns:
        An `epilog` that click leaves in its lines.
    """
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


class Commands(click.Group):
    """A group that lists its commands with their whole first sentence, and answers a wrong name with near ones."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Name the commands in the order in which they are written, which is that of the work."""
        return list(self.commands)

    def sections(self, ctx: click.Context) -> Mapping[str, tuple[str, ...]]:
        """Name the commands under the headings of the help."""
        return {"Commands": tuple(self.list_commands(ctx))}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        sections = self.sections(ctx)
        width = max((len(name) for names in sections.values() for name in names), default=0)
        for heading, names in sections.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                if command is not None and not command.hidden:
                    # Padded, so that the sections stand in one column.
                    rows.append((name.ljust(width), command.get_short_help_str(LONG)))
            with formatter.section(heading):
                formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for.

        Raises:
            click.UsageError: there is none of that name.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=3)
            # Newer versions of click say it themselves, of commands that are not imported late.
            if not near or "Did you mean" in error.format_message():
                raise
            names = " or ".join(map(repr, near))
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {names}?", ctx) from error
