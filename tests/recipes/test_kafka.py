"""Kafka's JSON: what its own tools wrote over the years is read, and what we write they can read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.kafka import (
    BadRecord,
    BrokerInfo,
    Listener,
    PartitionState,
    TopicPartition,
    TopicRecord,
    decode_broker,
    decode_controller,
    decode_epoch,
    decode_state,
    decode_topic,
    encode_broker,
    encode_controller,
    encode_state,
    encode_topic,
)
from recipes.kafka_requests import (
    Leave,
    decode_leave,
    decode_partitions,
    decode_reassignment,
    encode_leave,
    encode_partitions,
    encode_reassignment,
)

PLAIN = Listener("PLAINTEXT", "db1", 9092, "PLAINTEXT")


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"version": 1, "host": "db1", "port": 9092, "jmx_port": 9999, "timestamp": "2233345666"},
            BrokerInfo(7, [PLAIN], jmx_port=9999),
        ),
        (
            {
                "version": 2,
                "host": "db1",
                "port": 9092,
                "endpoints": ["PLAINTEXT://db1:9092", "SSL://db1:9093"],
            },
            BrokerInfo(7, [PLAIN, Listener("SSL", "db1", 9093, "SSL")]),
        ),
        (
            {"version": 3, "host": "db1", "port": 9092, "endpoints": ["PLAINTEXT://db1:9092"], "rack": "r2"},
            BrokerInfo(7, [PLAIN], rack="r2"),
        ),
        (
            {
                "version": 4,
                "host": None,
                "port": -1,
                "endpoints": ["CLIENT://db1:9092", "REPLICATION://[::1]:9093"],
                "listener_security_protocol_map": {"CLIENT": "SSL", "REPLICATION": "PLAINTEXT"},
            },
            BrokerInfo(7, [("CLIENT", "db1", 9092, "SSL"), ("REPLICATION", "::1", 9093, "PLAINTEXT")]),
        ),
        (
            {
                "version": 5,
                "endpoints": ["PLAINTEXT://:9092"],
                "listener_security_protocol_map": {"PLAINTEXT": "PLAINTEXT"},
                "features": {"feature1": {"min_version": 1, "max_version": 5, "other": 1}},
                "something_new": True,
            },
            BrokerInfo(7, [("PLAINTEXT", "", 9092)], features={"feature1": (1, 5)}),
        ),
    ],
    ids=lambda value: f"v{value['version']}" if isinstance(value, dict) else "",
)
def test_every_version_of_a_registration_is_read(record: dict[str, object], expected: BrokerInfo) -> None:
    assert decode_broker(7, json.dumps(record).encode()) == expected


def test_what_old_readers_need_is_written() -> None:
    listeners = [("SECURE", "db1", 9093, "SSL"), ("OPEN", "db1", 9092, "PLAINTEXT")]
    record = json.loads(encode_broker(BrokerInfo(1, listeners), timestamp_ms=1234))
    assert record == {
        "version": 5,
        "host": "db1",
        "port": 9092,
        "jmx_port": -1,
        "timestamp": "1234",
        "endpoints": ["SECURE://db1:9093", "OPEN://db1:9092"],
        "listener_security_protocol_map": {"SECURE": "SSL", "OPEN": "PLAINTEXT"},
        "features": {},
    }


def test_without_a_plain_endpoint_host_is_null() -> None:
    record = json.loads(encode_broker(BrokerInfo(1, [("TLS", "db1", 9093, "SSL")], rack="a"), timestamp_ms=0))
    assert (record["host"], record["port"], record["rack"]) == (None, -1, "a")


names = st.from_regex(r"[A-Z][A-Z_0-9]{0,8}", fullmatch=True)
hosts = st.one_of(st.from_regex(r"[a-z0-9.-]{0,12}", fullmatch=True), st.just("::1"), st.just("fe80::2"))
protocols = st.sampled_from(["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
listeners = st.lists(
    st.builds(Listener, names, hosts, st.integers(0, 65535), protocols), unique_by=lambda one: one.name
)
features = st.dictionaries(st.text(max_size=5), st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=3)


@settings(deadline=None)
@given(
    st.builds(
        BrokerInfo, st.integers(0, 9999), listeners, st.none() | st.text(), features, st.integers(-1, 65535)
    )
)
def test_a_registration_round_trips(info: BrokerInfo) -> None:
    assert info.id is not None
    assert decode_broker(info.id, encode_broker(info, timestamp_ms=5)) == info


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b"{}",
        b'{"version":1}',
        b'{"version":2,"endpoints":["nonsense"]}',
        b'{"version":5,"endpoints":[1]}',
        b'{"version":5,"endpoints":[],"features":[1]}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_damaged_registration_says_so(data: bytes) -> None:
    with pytest.raises(BadRecord, match="/brokers/ids/3"):
        decode_broker(3, data)


@settings(deadline=None)
@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_garbage_is_one_class_of_error(data: bytes) -> None:
    for decode in (
        lambda: decode_broker(1, data),
        lambda: decode_topic("t", data),
        lambda: decode_state("t", 0, data),
        lambda: decode_controller(data),
        lambda: decode_epoch(data),
        lambda: decode_reassignment(data),
        lambda: decode_partitions("/admin/preferred_replica_election", data),
        lambda: decode_leave("/admin/controlled_shutdown/1-2", data),
    ):
        try:
            decode()
        except BadRecord:
            pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"version":1,"partitions":{"10":[2],"9":[1,2]}}', TopicRecord({9: (1, 2), 10: (2,)})),
        (
            '{"version":2,"partitions":{"0":[3,1]},"adding_replicas":{"0":[3]},"removing_replicas":{"0":[1]}}',
            TopicRecord({0: (3, 1)}, {0: (3,)}, {0: (1,)}),
        ),
        (
            '{"partitions":{"0":[1]},"topic_id":"ikAub9q6QcW9qUakngNwfQ","version":3}',
            TopicRecord({0: (1,)}, topic_id="ikAub9q6QcW9qUakngNwfQ"),
        ),
    ],
    ids=["v1", "v2", "v3"],
)
def test_every_version_of_a_topic_is_read(text: str, expected: TopicRecord) -> None:
    assert decode_topic("t", text.encode()) == expected
    assert list(decode_topic("t", text.encode()).replicas) == sorted(expected.replicas)


def test_old_readers_find_the_partitions_of_a_topic() -> None:
    """Version 1 looks at `partitions` only; version 2 was written before there were topic ids."""
    record = json.loads(encode_topic(TopicRecord({1: (2, 3), 0: (1, 2)}, topic_id="x")))
    assert (record["version"], record["partitions"]) == (3, {"0": [1, 2], "1": [2, 3]})
    record = json.loads(encode_topic(TopicRecord({0: (3, 1)}, {0: (3,)}, {0: (1,)})))
    assert record == {
        "version": 2,
        "partitions": {"0": [3, 1]},
        "adding_replicas": {"0": [3]},
        "removing_replicas": {"0": [1]},
    }


replicas = st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True).map(tuple)
by_number = st.dictionaries(st.integers(0, 12), replicas, max_size=4)


@settings(deadline=None)
@given(st.builds(TopicRecord, by_number, by_number, by_number, st.none() | st.text()))
def test_a_topic_round_trips(record: TopicRecord) -> None:
    assert decode_topic("t", encode_topic(record)) == record


def test_requests() -> None:
    some = [TopicPartition("b", 1), TopicPartition("a", 2)]
    data = encode_reassignment({some[0]: [3, 4], some[1]: (1,)})
    assert json.loads(data)["partitions"][0] == {"topic": "a", "partition": 2, "replicas": [1]}
    assert decode_reassignment(data) == {some[0]: (3, 4), some[1]: (1,)}
    assert decode_partitions("/x", encode_partitions(some)) == frozenset(some)
    for leave in (Leave(1, 2**40), Leave(1, 2**40, granted_by=3)):
        assert decode_leave("/x", encode_leave(leave)) == leave
    assert json.loads(encode_leave(Leave(1, 7))) == {"version": 1, "brokerid": 1, "broker_epoch": 7}


def test_partition_states() -> None:
    state = PartitionState(2, 7, 3, (2, 1))
    data = encode_state(state)
    assert json.loads(data) == {
        "version": 1,
        "leader": 2,
        "leader_epoch": 7,
        "controller_epoch": 3,
        "isr": [2, 1],
    }
    assert decode_state("t", 0, data) == state


def test_controllers() -> None:
    assert json.loads(encode_controller(4, timestamp_ms=12)) == {
        "version": 1,
        "brokerid": 4,
        "timestamp": "12",
    }
    assert decode_controller(b'{"version":2,"brokerid":4,"timestamp":"1","kraftControllerEpoch":-1}') == 4
    assert decode_epoch(b"17") == 17
