"""What the probes share: one attempt to connect, the word for its failure, the JSON of an answer."""

from veloz_chaos.core.probe import parsed
from veloz_chaos.mechanisms.dial import dial, why

__all__ = ["dial", "parsed", "why"]
