"""One file, one fault: `faults/kill.py` is the fault `kill`, and its FAULT is the class."""
