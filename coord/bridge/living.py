"""What is not a value: the classes of coord whose objects live in the trio thread.

Owns that list, for both sides of the bridge. Whatever else crosses the bridge is passed as it is, unless it
can be entered or iterated over.

Synopsis::

    facades = Facades(side, LIVING)
"""

from __future__ import annotations

from typing import Any, Final

from trio_util import AsyncBool, AsyncValue

import coord
import recipes
from coord import Client, Events, Guard, Janitor, LiveSession, States, Transaction, Watch
from coord.bridge.facade import Facades
from coord.bridge.process import default_portal
from recipes.consumption import Consumption
from recipes.fence import FencedTransaction
from recipes.party import Membership
from recipes.read_write_lock import Reading, Writing

RECIPES: Final[tuple[type, ...]] = (
    *(recipes.Lock, recipes.ReadWriteLock, recipes.Semaphore, recipes.Election),
    *(recipes.Barrier, recipes.DoubleBarrier, recipes.Queue, recipes.Counter),
    *(recipes.Party, recipes.Cache, recipes.Partitioner, recipes.Lease, recipes.MultiLease),
    *(recipes.BrokerRegistry, recipes.Topics, recipes.Controller),
)
"""those that users make"""

HELD: Final[tuple[type, ...]] = (
    *(recipes.Grant, recipes.Term, recipes.Item, Membership, recipes.Registration),
    *(recipes.CachedTree, recipes.CacheEvents, recipes.LiveConfig, recipes.PartyChanges),
    *(Reading, Writing, Consumption, FencedTransaction),
)
"""those that recipes give"""

CLIENT: Final[tuple[type, ...]] = (
    *(Client, LiveSession, Guard, Janitor, Watch, States, Events, Transaction),
    *(AsyncValue, AsyncBool),
)

LIVING: Final = (*CLIENT, *RECIPES, *HELD)

VALUES: Final = {
    **{name: getattr(coord, name) for name in coord.__all__},
    **{name: getattr(recipes, name) for name in recipes.__all__},
}
"""all public names; those of living things are another's on the other side"""


def public_names(facades: Facades) -> dict[str, Any]:
    """What `coord` and `recipes` offer, for one side: classes, functions, and values as they are."""
    names: dict[str, Any] = {
        name: facades[value] if value in LIVING else value for name, value in VALUES.items()
    }
    for function in (coord.connect, recipes.watch_config):
        names[function.__name__] = facades.function(function, default_portal)
    return names
