"""veloz-chaos: an experiment becomes a plan; running a plan leaves a journal; the rest is reading the journal."""

__version__ = "0.1.0"
