"""One file, one backend: `find` leads from a selector to targets, `reopen` from a reference to the same incarnation."""
