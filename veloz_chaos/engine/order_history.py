"""The order history beside a journal: read back when a run is judged."""

from __future__ import annotations

from pathlib import Path

from veloz_chaos.core.history import History
from veloz_chaos.core.orders import Orders, UnreadableOrders, read


def beside(folder: Path, history: History) -> Orders | None:
    """With the orders of the probes, which are in the journal. None if the run had no workload, or its file is not
    there; what cannot be read says why in `unreadable`."""
    if not history.orders_file:
        return None
    path = (folder if folder.is_dir() else folder.parent) / Path(history.orders_file).name
    try:
        with path.open("rb") as lines:
            found = read(lines)
    except FileNotFoundError:
        return None
    except (OSError, UnreadableOrders) as error:
        return Orders(unreadable=error.strerror or str(error) if isinstance(error, OSError) else str(error))
    for line in history.probe_orders:
        found.probe(line)
    return found
