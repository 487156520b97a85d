"""What an assembler remembers between two entries: bounded, and able to be kept as JSON."""

from collections import OrderedDict
from dataclasses import asdict
from datetime import datetime
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

_KEPT = 1_000  # of each sort: the least recently used goes


class Memory(Generic[Item]):
    """Items by key, the most recently used ones."""

    def __init__(self, kind: type[Item], kept: int = _KEPT) -> None:
        self._kind = kind
        self._kept = kept
        self._items: OrderedDict[str, Item] = OrderedDict()

    def get(self, key: str) -> Item | None:
        """Return the item at `key`."""
        return self._items.get(key)

    def put(self, key: str, item: Item) -> Item:
        """Remember `item`; returns it."""
        self._items[key] = item
        self._items.move_to_end(key)
        while len(self._items) > self._kept:
            self._items.popitem(last=False)
        return item

    def pop(self, key: str) -> Item | None:
        """Forget the item at `key`; returns it."""
        return self._items.pop(key, None)

    def items(self) -> list[tuple[str, Item]]:
        """All of them, the least recently used first."""
        return list(self._items.items())

    def __len__(self) -> int:
        return len(self._items)

    def dump(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            key: {
                name: value.isoformat() if isinstance(value, datetime) else value
                for name, value in asdict(item).items()  # type: ignore[call-overload]
            }
            for key, item in self._items.items()
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Remember what `dump` returned. A field is a time when its name is `at` or ends in `_at`."""
        for key, fields in dumped.items():
            times = {
                name: datetime.fromisoformat(value)
                for name, value in fields.items()
                if value and (name == "at" or name.endswith("_at"))
            }
            self.put(key, self._kind(**{**fields, **times}))
