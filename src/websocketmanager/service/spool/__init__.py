"""A connection's way through the log on the local disk, between its socket and its lane.

`spool` is the way, `underway` what of it the API has not settled yet, `restoring` makes events of
what the log kept, `disk_budget` shares the disk among the connections.
"""

from websocketmanager.service.spool.disk_budget import DiskBudget
from websocketmanager.service.spool.spool import Spool, SpoolHands

__all__ = ["DiskBudget", "Spool", "SpoolHands"]
