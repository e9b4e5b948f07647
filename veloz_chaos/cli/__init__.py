"""The command line: one file is one command; `app` finds them by name and imports only the one that is called."""
