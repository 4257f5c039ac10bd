"""The command line: parse, one library call, print; one file a command."""
