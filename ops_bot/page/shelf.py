"""What was made lately and would be made the same again: ten people with the page open cost as much as one."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock


class Shelf:
    """The newest `size` things, by what they were made of. Any thread may come."""

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, Lock()
        self._things: OrderedDict[Hashable, str] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], str]) -> str:
        """The thing of `key`, made now unless it stands here."""
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
                return self._things[key]
        made = make()
        with self._lock:
            self._things[key] = made
            while len(self._things) > self._size:
                self._things.popitem(last=False)
        return made
