"""Who hears of which event."""

from __future__ import annotations

import pytest

from coord.client.watches import Kind, Watches, WatchEvent
from coord.wire.records import EventType


class Ear:
    def fired(self, event: WatchEvent) -> None: ...

    def session_ended(self) -> None: ...

    def resynced(self) -> None: ...


@pytest.mark.parametrize(
    ("event", "takes"),
    [
        (EventType.CREATED, {Kind.DATA, Kind.EXISTS}),
        (EventType.DATA_CHANGED, {Kind.DATA, Kind.EXISTS}),
        (EventType.DELETED, {Kind.DATA, Kind.EXISTS, Kind.CHILDREN}),
        (EventType.CHILDREN_CHANGED, {Kind.CHILDREN}),
    ],
)
def test_an_event_takes_its_one_shot_watches(event: EventType, takes: set[Kind]) -> None:
    watches = Watches()
    ears = {kind: Ear() for kind in (Kind.DATA, Kind.EXISTS, Kind.CHILDREN)}
    for kind, ear in ears.items():
        watches.add(kind, "/a", ear)
    assert watches.fire(WatchEvent(event, "/a")) == {ears[kind] for kind in takes}
    assert set(watches.kinds("/a")) == set(ears) - takes
    assert watches.fire(WatchEvent(event, "/a")) == set()


def test_persistent_watches_stay() -> None:
    watches, ear = Watches(), Ear()
    watches.add(Kind.PERSISTENT, "/a", ear)
    for event in (EventType.CREATED, EventType.CHILDREN_CHANGED, EventType.DELETED):
        assert watches.fire(WatchEvent(event, "/a")) == {ear}
    assert watches.fire(WatchEvent(EventType.CREATED, "/a/b")) == set()


def test_recursive_watches_hear_of_everything_below_but_not_of_children_lists() -> None:
    watches, ear, root = Watches(), Ear(), Ear()
    watches.add(Kind.RECURSIVE, "/a", ear)
    watches.add(Kind.RECURSIVE, "/", root)
    assert watches.fire(WatchEvent(EventType.CREATED, "/a/b/c")) == {ear, root}
    assert watches.fire(WatchEvent(EventType.CREATED, "/ab")) == {root}
    assert watches.fire(WatchEvent(EventType.CHILDREN_CHANGED, "/a")) == set()


def test_a_watcher_with_several_watches_hears_once() -> None:
    watches, ear = Watches(), Ear()
    for kind in Kind:
        watches.add(kind, "/a", ear)
    assert watches.fire(WatchEvent(EventType.DELETED, "/a")) == {ear}


def test_drop_says_what_nobody_watches_any_more() -> None:
    watches, one, other = Watches(), Ear(), Ear()
    watches.add(Kind.DATA, "/a", one)
    watches.add(Kind.DATA, "/b", one)
    watches.add(Kind.DATA, "/b", other)
    assert watches.drop(one) == [(Kind.DATA, "/a")]
    assert watches.drop(one) == []
    assert list(watches.armed()) == [(Kind.DATA, "/b")]
    assert watches.drop(other) == [(Kind.DATA, "/b")]
