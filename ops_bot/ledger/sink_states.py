"""How each sink is, and which process may send to it: what must survive a restart, and hold between two processes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, select

from ops_bot.ledger.schema import micros, moment
from ops_bot.ledger.schema import sinks as table
from ops_bot.ledger.upsert import upsert

Circuit = Literal["ok", "slow", "paused"]


@dataclass(frozen=True)
class SinkState:
    """`ok`; `slow`: trying less often until `until`; `paused`: refused us, for a `reason` a person must mend."""

    state: Circuit = "ok"
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None


def get(connection: Connection, sink: str) -> SinkState:
    """How `sink` is; `ok` when nothing was ever said about it."""
    row = connection.execute(select(table).where(table.c.sink == sink)).one_or_none()
    if row is None:
        return SinkState()
    until = None if row.until is None else moment(row.until)
    return SinkState(row.state, row.reason, moment(row.since), until)


def health(connection: Connection, sink: str) -> SinkState:
    """How `sink` is as people see it: also not ok when one of its lanes (kept as "sink lane") is not."""
    state = get(connection, sink)
    if state.state != "ok":
        return state
    query = select(table).where(table.c.sink.startswith(f"{sink} ", autoescape=True), table.c.state != "ok")
    row = connection.execute(query.order_by(table.c.since).limit(1)).one_or_none()
    if row is None:
        return state
    until = None if row.until is None else moment(row.until)
    return SinkState(row.state, f"{row.sink.removeprefix(sink).strip()}: {row.reason}", moment(row.since), until)


def put(connection: Connection, sink: str, new: SinkState) -> None:
    """Note how `sink` is. `since` moves when it ceases to be ok and when it is ok again: an outage begins once."""
    before = get(connection, sink)
    since = before.since if (before.state == "ok") == (new.state == "ok") else new.since
    values = {
        "state": new.state,
        "reason": new.reason,
        "since": 0 if since is None else micros(since),
        "until": None if new.until is None else micros(new.until),
    }
    row = {"sink": sink, "owner": "", "lease_until": 0} | values
    upsert(connection, table, [row], _circuit_of)


def _circuit_of(new: Any) -> dict[str, Any]:
    return {name: new[name] for name in ("state", "reason", "since", "until")}


def _lease_of(new: Any) -> dict[str, Any]:
    return {name: new[name] for name in ("owner", "lease_until")}


def lead(connection: Connection, sink: str, owner: str, now: datetime, seconds: float) -> bool:
    """Take or prolong the right to send to `sink` for `seconds`. False while another owner has it."""
    row = connection.execute(select(table.c.owner, table.c.lease_until).where(table.c.sink == sink)).one_or_none()
    if row is not None and row.owner not in ("", owner):
        left = moment(row.lease_until) - now
        # A lease of the far future was given by a clock that was wrong: it holds nobody up.
        if timedelta(0) < left <= timedelta(seconds=seconds):
            return False
    values = {"owner": owner, "lease_until": micros(now + timedelta(seconds=seconds))}
    new = {"sink": sink, "state": "ok", "reason": "", "since": micros(now), "until": None} | values
    upsert(connection, table, [new], _lease_of)
    return True


def leader(connection: Connection, sink: str, now: datetime) -> str:
    """Who may send to `sink`; empty when nobody does."""
    row = connection.execute(select(table.c.owner, table.c.lease_until).where(table.c.sink == sink)).one_or_none()
    return row.owner if row is not None and row.lease_until > micros(now) else ""


def release(connection: Connection, owner: str) -> None:
    """Give up every right of `owner`, so that another process need not wait for it to expire."""
    connection.execute(table.update().where(table.c.owner == owner).values(owner="", lease_until=0))
