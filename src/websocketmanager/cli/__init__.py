"""The command line: arguments, environment and file → settings; signals and exit codes.

No product rule: `serve`, `api` and `dev` run what `app`, `embedded` and `dev` compose, the rest
are calls by `terminal`.
"""

# The order of the imports is that of the commands in `--help`.
# isort: off
from websocketmanager.cli.root import cli
from websocketmanager.cli import running
from websocketmanager.cli import connections
from websocketmanager.cli import trial
from websocketmanager.cli import inspection
from websocketmanager.cli import streams
from websocketmanager.cli import configuration
# isort: on

__all__ = [
    "cli",
    "configuration",
    "connections",
    "inspection",
    "main",
    "running",
    "streams",
    "trial",
]


def main() -> None:
    """Runs the command line of this process, and ends it with the command's exit code."""
    cli()
