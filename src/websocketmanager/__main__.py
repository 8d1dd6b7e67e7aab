"""`python -m websocketmanager`: the command line."""

from websocketmanager.cli import main

main()
