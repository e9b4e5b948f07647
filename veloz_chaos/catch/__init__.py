"""A listener that an Alertmanager notifies in place of Slack, PagerDuty and whoever else: it takes notifications, keeps
the latest of them, and tells over an HTTP API what came. It knows nothing of experiments, and does what nobody says."""

from veloz_chaos.catch.kept import Caught, Kept
from veloz_chaos.catch.server import Catcher, serve

__all__ = ["Catcher", "Caught", "Kept", "serve"]
