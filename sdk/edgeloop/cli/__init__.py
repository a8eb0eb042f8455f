"""The `edgeloop` command: finds the sub-commands, runs one, prints its result, maps errors to exit codes.

A sub-command is a `Command` that an entry point of the group `edgeloop.commands` names: `bench`, or `bench.report` for
`edgeloop bench report`, where `bench` takes arguments of its own. Its module must import nothing heavy at its top: all
of them are imported for `edgeloop --help`. See `Result` for what one returns.

Exit codes: 0 when what was asked for holds, 1 when it was measured and does not hold, 2 on bad input.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from edgeloop.errors import EdgeloopError, GateError, MissingExtraError

__all__ = ["BAD_INPUT", "INTERRUPTED", "Command", "Result", "common_options", "main"]

HOLDS, DOES_NOT_HOLD, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


class Result(NamedTuple):
    """What a sub-command found out.

    Args:
        data: the one JSON document that `--json` prints; numpy numbers are not allowed in it.
        text: what is printed otherwise; may be empty when the command has printed as it went.
        holds: whether what was asked for holds; False exits with 1.
        code: the exit code where there is something to print and yet more to say than `holds`: 2 where a part of the
            input was bad, 130 where it was interrupted.
    """

    data: dict[str, Any] = {}  # noqa: RUF012  # nobody changes it
    text: str = ""
    holds: bool = True
    code: int | None = None


class Command(NamedTuple):
    """A sub-command.

    Args:
        help: one line for `edgeloop --help`, no full stop.
        configure: adds the arguments to the sub-command's parser.
        run: does the work; raises `EdgeloopError` or `OSError` for what the user must mend.
        extra: the extra of this distribution that it needs, if any.
        needs: top-level modules of that extra whose absence means that the extra isn't installed.
    """

    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Result]
    extra: str | None = None
    needs: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """The first needed module that isn't installed, or None."""
        return next((name for name in self.needs if importlib.util.find_spec(name) is None), None)


def find_commands() -> dict[str, Command]:
    """All registered sub-commands by name, in alphabetical order; one that can't be imported is told and left out."""
    commands: dict[str, Command] = {}
    for entry in sorted(entry_points(group="edgeloop.commands"), key=lambda e: e.name):
        try:
            commands[entry.name.replace(".", " ")] = entry.load()
        except (ImportError, AttributeError) as error:  # one broken plug-in must not take the others along
            sys.stderr.write(f"edgeloop: the command {entry.name!r} is left out: {error}: reinstall its package\n")
    return commands


def build_parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    """The parser over all commands; those that lack their extra are listed apart, but still parse."""
    lacking = [f"{n} [{c.extra}]" for n, c in commands.items() if c.missing()]
    parser = argparse.ArgumentParser(
        prog="edgeloop",
        description="Close the loop between a trained model and the edge devices that run it.",
        epilog="more commands with an extra (pip install 'edgeloop[EXTRA]'): " + ", ".join(lacking)
        if lacking
        else None,
    )
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in commands.items():
        # No `help` keeps a command out of the list, not out of the parser: argparse has no other way.
        listed: dict[str, Any] = {} if command.missing() else {"help": command.help}
        sub = subparsers.add_parser(name, parents=[common_options()], description=f"{command.help}.", **listed)
        command.configure(sub)
    return parser


def common_options(*, nested: bool = False) -> argparse.ArgumentParser:
    """The options of every command, as a parent parser. `nested` is for an action of a command that has actions.

    There they have no default of their own: they would overwrite what was said before the action's name.
    """
    default = argparse.SUPPRESS if nested else False
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", default=default, help="one JSON document on standard output")
    common.add_argument(
        "-v", "--verbose", action="store_true", default=default, help="more log lines on standard error"
    )
    return common


class _Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"edgeloop {version('edgeloop')}\n")
        parser.exit()


def run_command(command: Command, args: argparse.Namespace) -> int:
    """Run one command and print its result; errors become one line and an exit code."""
    import json

    try:
        missing = command.missing()
        if missing is not None and command.extra is not None:
            raise MissingExtraError(command.extra, missing)
        result = command.run(args)
    except GateError as error:
        return fail(args, error, DOES_NOT_HOLD)
    except BrokenPipeError:
        raise
    except (EdgeloopError, OSError) as error:
        return fail(args, error, BAD_INPUT)
    except KeyboardInterrupt:
        return fail(args, "interrupted", INTERRUPTED)
    if args.json:
        sys.stdout.write(json.dumps(result.data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    elif result.text:
        sys.stdout.write(result.text.rstrip("\n") + "\n")
    sys.stdout.flush()  # a closed pipe shows here, not in the interpreter's shutdown
    if result.code is not None:
        return result.code
    return HOLDS if result.holds else DOES_NOT_HOLD


def fail(args: argparse.Namespace, error: BaseException | str, code: int) -> int:
    """Report `error` as one line (and as JSON where asked), and give back `code`."""
    import json

    line = describe(error) if isinstance(error, BaseException) else error
    if args.json:
        kind = type(error).__name__ if isinstance(error, BaseException) else "Interrupted"
        sys.stdout.write(json.dumps({"error": {"kind": kind, "message": line}}) + "\n")
    sys.stderr.write(f"edgeloop {args.command}: {line}\n")
    return code


def describe(error: BaseException) -> str:
    """An error as one line; an `OSError` without Python's `[Errno 2]`."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return " ".join(str(error).split())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the `edgeloop` command line with `argv` (default: the process's own) and give back its exit code."""
    commands = find_commands()
    words = list(sys.argv[1:] if argv is None else argv)
    if " ".join(words[:2]) in commands:
        words[:2] = [" ".join(words[:2])]
    args = build_parser(commands).parse_args(words)
    import logging  # it costs as much as everything else in `edgeloop --help`

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if args.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        return run_command(commands[args.command], args)
    except BrokenPipeError:  # `edgeloop … | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return HOLDS
    except OSError as error:  # standard output has no room
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return fail(args, error, BAD_INPUT)
