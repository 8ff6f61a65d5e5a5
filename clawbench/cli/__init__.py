"""The command line: one file a verb, loaded when it is called.

Exit codes: 0 ok, 1 a gate or check failed, 2 bad usage or input, 130 interrupted. Never a traceback for what a user
can cause.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.metadata import version

import click

from clawbench.errors import ClawbenchError

VERBS = {
    "audit": "work every charge of a run or a ledger again, and prove that no money is lost",
    "bill": "run worked bills as the gateway bills, and compare",
    "cassettes": "recordings: check, ls, show, import, scrub, scan, accuracy",
    "catalog": "take over another gateway's models and prices: import",
    "emulate": "serve emulated providers, each below its own path prefix",
    "explain": "say which offer a request would get and why, or why it got the one it did",
    "ledger": "accounts of a ledger file: topup, balance, ls",
    "plan": "check a plan without running it",
    "profiles": "learn how fast offers answer from what was observed",
    "record": "ask providers for real and record the answers, within a budget",
    "report": "print a run's figures and write its report",
    "run": "run a plan and report",
    "runs": "list the runs that there are",
    "serve": "serve an OpenAI-compatible endpoint from recordings",
}


class _Verbs(click.Group):
    """Finds a verb's file by its name, so that `--help` loads none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"clawbench.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(VERBS.items()))


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("clawbench"), prog_name="clawbench")
def clawbench() -> None:
    """An OpenAI-compatible LLM routing gateway, and the bench that measures that very gateway."""


def main(arguments: list[str] | None = None) -> None:
    """Runs a command line and ends the process with its exit code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Runs a command line; the exit code."""
    try:
        code = clawbench.main(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("clawbench: interrupted", err=True)
        return 130
    except ClawbenchError as error:
        click.echo(f"clawbench: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has gone (head, less); keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0
