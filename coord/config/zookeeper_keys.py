"""Keys of ZooKeeper's zoo.cfg that set nothing in coord: those it has no need of, those it must refuse.

Owns the two lists. Settings that ZooKeeper reads as Java system properties stand here as zoo.cfg spells
them, without `zookeeper.` in front.
"""

from __future__ import annotations

from typing import Final

UNNEEDED: Final = frozenset(
    """
    electionAlg peerType localSessionsEnabled localSessionsUpgradingEnabled standaloneEnabled reconfigEnabled
    """.split()  # noqa: SIM905 (a list of words is easier to read and to extend)
)

UNNEEDED_PREFIXES: Final = ("metricsProvider.", "admin.", "jvm.pause.")

REFUSED: Final = {
    "secureClientPort": "coord does not serve TLS yet; put a TLS proxy in front of clientPort",
}
