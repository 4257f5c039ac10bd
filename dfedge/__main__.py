"""``python -m dfedge``: the command line."""

from dfedge.cli.app import main

main()
