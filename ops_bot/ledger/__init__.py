"""The ledger: what happened, durable and append-only, and what each sink must still be told.

Everything the bot knows is here. Each method is one transaction; one that changes something returns when it is on
disk. Every method raises LedgerError, or one of its kinds, when the database does not do it.
"""

from ops_bot.ledger.database import LedgerBusy, LedgerCorrupt, LedgerError, LedgerFull, LedgerReadOnly
from ops_bot.ledger.history import Cursor, Plan, Recorded
from ops_bot.ledger.ledger import Ledger, utc_now
from ops_bot.ledger.outbox import Backlog, Delivery, Wanted
from ops_bot.ledger.quarantine import Quarantined
from ops_bot.ledger.sink_states import SinkState

__all__ = [
    "Backlog",
    "Cursor",
    "Delivery",
    "Ledger",
    "LedgerBusy",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerFull",
    "LedgerReadOnly",
    "Plan",
    "Quarantined",
    "Recorded",
    "SinkState",
    "Wanted",
    "utc_now",
]
