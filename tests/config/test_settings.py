"""zoo.cfg -> Config: what is accepted, what is refused, and that the message says where and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from coord.config import Config, Member
from coord.config.keys import KEYS, read_settings
from coord.config.zookeeper_keys import FULFILLED, REFUSED, UNNEEDED
from coord.errors import ConfigError

THREE = "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888;2183\n"


class Home:
    """A folder with a zoo.cfg and a data folder in it."""

    def __init__(self, path: Path) -> None:
        self.file = path / "zoo.cfg"
        self.data = path / "data"
        self.data.mkdir()
        self.notes: list[str] = []

    def load(self, text: str = "", my_id: str | None = None) -> Config:
        if my_id is not None:
            (self.data / "myid").write_text(my_id)
        self.file.write_text(f"dataDir={self.data}\n{text}")
        return Config.from_file(self.file, self.notes.append)

    def refusal(self, text: str = "", my_id: str | None = None) -> str:
        with pytest.raises(ConfigError) as caught:
            self.load(text, my_id)
        return str(caught.value).replace(str(self.file.parent) + "/", "")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_the_defaults_are_zookeepers() -> None:
    config = Config()
    assert (config.client_port, config.tick_time_ms, config.max_client_cnxns) == (2181, 2000, 60)
    assert (config.min_session_timeout_ms, config.max_session_timeout_ms) == (4000, 40000)
    assert config.four_letter_whitelist == {"srvr"}
    assert not config.is_ensemble


def test_a_usual_file(home: Home) -> None:
    config = home.load("tickTime=1000\nclientPort=2182\ninitLimit=10\nsyncLimit=5\n# maxClientCnxns=60\n")
    assert config == Config(data_dir=home.data, tick_time_ms=1000, client_port=2182)
    assert (config.min_session_timeout_ms, config.log_dir) == (2000, home.data)
    assert home.notes == []


VALUES = {
    "clientPort": ("0", 0),
    "clientPortAddress": ("::1", "::1"),
    "clientPortListenBacklog": ("-1", -1),
    "dataLogDir": ("/logs", Path("/logs")),
    "tickTime": ("500", 500),
    "initLimit": ("20", 20),
    "syncLimit": ("3", 3),
    "minSessionTimeout": ("1000", 1000),
    "maxSessionTimeout": ("90000", 90000),
    "maxClientCnxns": ("0", 0),
    "jute.maxbuffer": ("4194304", 4194304),
    "snapCount": ("1000", 1000),
    "snapSizeLimitInKb": ("0", 0),
    "autopurge.snapRetainCount": ("5", 5),
    "autopurge.purgeInterval": ("24", 24),
    "globalOutstandingLimit": ("2000", 2000),
    "DigestAuthenticationProvider.superDigest": ("super:D/InIHSb7yEEbrWz8b9l71RjZJU=",) * 2,
    "extendedTypesEnabled": ("false", False),
    "4lw.commands.whitelist": ("stat, ruok", frozenset({"stat", "ruok"})),
    "admin.enableServer": ("true", True),
    "skipACL": ("yes", True),
    "readonlymode.enabled": ("TRUE", True),
    "heartbeatInterval": ("100", 100),
    "db.autocreate": ("true", True),
    "znode.container.checkIntervalMs": ("100", 100),
    "znode.container.maxPerMinute": ("5", 5),
    "quorumListenOnAllIPs": ("true", True),
}


def test_every_key_is_tried_below() -> None:
    assert VALUES.keys() == KEYS.keys() - {"dataDir", "dynamicConfigFile", "memberSecretFile"}


@pytest.mark.parametrize("key", VALUES)
def test_every_key_sets_its_field(home: Home, key: str) -> None:
    text, value = VALUES[key]
    assert getattr(home.load(f"{key}={text}"), KEYS[key].field) == value


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tickTime=x", "tickTime: expected milliseconds, 1 to 2147483647, got 'x'"),
        ("tickTime=0", "tickTime: expected milliseconds, 1 to 2147483647, got '0'"),
        ("tickTime=", "tickTime: expected milliseconds, 1 to 2147483647, got ''"),
        ("tickTime=٣", "tickTime: expected milliseconds, 1 to 2147483647, got '٣'"),
        ("clientPort=65536", "clientPort: expected a port, 0 to 65535, got '65536'"),
        ("skipACL=maybe", "skipACL: expected true or false, got 'maybe'"),
        ("maxSessionTimeout=-2", ("maxSessionTimeout: expected milliseconds, 1 to 2147483647, "
         "or -1 for the default, got '-2'")),
        ("dataLogDir=", "dataLogDir: expected a folder, got ''"),
        ("ticktime=2000", "ticktime: not a key of zoo.cfg; did you mean tickTime?"),
        ("zookeeper.skipACL=yes", "zookeeper.skipACL: in zoo.cfg the key is skipACL, without zookeeper."),
        ("frobnicate=1", "frobnicate: not a key of zoo.cfg"),
        ("secureClientPort=2281", "secureClientPort: " + REFUSED["secureClientPort"]),
        ("server.1=host", ("server.1: expected hostname:peerPort:leaderPort"
         "[:observer|participant][;[address:]clientPort], got 'host'")),
        ("server.one=a:1:2", "server.one: expected an integer after server., got 'one'"),
        ("server.1=a:1:2:boss", ("server.1: expected participant or observer after the ports of "
         "hostname:peerPort:leaderPort[:observer|participant][;[address:]clientPort], got 'a:1:2:boss'")),
        ("group.1=a", "group.1: expected server ids with colons between, as in 1:2:3, got 'a'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(home: Home, line: str, message: str) -> None:
    assert home.refusal(f"\n# a comment\n{line}\n") == f"zoo.cfg:4: {message}"


def test_secrets_never_show(home: Home) -> None:
    assert "hunter2" not in home.refusal("DigestAuthenticationProvider.superDigest=super:hunter2!")
    config = Config(super_digest="super:hunter2=")
    assert "hunter2" not in repr(config)
    home.load("ssl.keyStore.password=hunter2")
    assert home.notes
    assert "hunter2" not in "".join(home.notes)


def test_the_members_secret_is_read_from_its_file(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    path = home.file.parent / "secret"
    path.write_text("  hunter2 hunter2 hunter2\n")
    path.chmod(0o600)
    config = home.load(f"memberSecretFile={path}")
    assert config.member_secret == b"hunter2 hunter2 hunter2"
    assert "hunter2" not in repr(config)
    assert caplog.text == ""
    path.chmod(0o640)
    home.load(f"memberSecretFile={path}")
    assert "others than its owner can read the members' secret" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_secret_that_is_none_is_refused(home: Home) -> None:
    path = home.file.parent / "secret"
    message = home.refusal(f"memberSecretFile={path}")
    assert message == "secret: cannot be read: No such file or directory"
    path.write_text(" 123456789012345\n")
    message = home.refusal(f"memberSecretFile={path}")
    assert message == "secret: a secret of the members has at least 16 bytes, this one has 15"
    assert "memberSecretFile: expected a file, got ''" in home.refusal("memberSecretFile=")
    with pytest.raises(ConfigError):
        Config(member_secret=b"short")


@pytest.mark.parametrize("key", sorted(UNNEEDED | {"ssl.keyStore.location", "metricsProvider.httpPort"}))
def test_keys_without_effect_are_noted(key: str) -> None:
    notes: list[str] = []
    assert read_settings(f"{key}=1", "zoo.cfg", notes.append) == {}
    assert notes == [f"zoo.cfg:1: {key}: accepted without effect"]


@pytest.mark.parametrize("key", REFUSED)
def test_protection_that_is_switched_off_is_no_reason_to_refuse(key: str) -> None:
    assert read_settings(f"{key}=false", "zoo.cfg", print) == {}
    with pytest.raises(ConfigError):
        read_settings(f"{key}=true", "zoo.cfg", print)


@pytest.mark.parametrize("key", FULFILLED)
def test_what_coord_does_anyway_is_not_worth_a_note(key: str) -> None:
    for value in FULFILLED[key]:
        for text in (value, value.upper()):
            notes: list[str] = []
            assert read_settings(f"{key}={text}", "zoo.cfg", notes.append) == {}
            assert notes == []


def test_another_digest_is_refused() -> None:
    """Whoever authenticates would be somebody else than the access lists say."""
    with pytest.raises(ConfigError, match="by SHA-1 only"):
        read_settings("DigestAuthenticationProvider.digestAlg=SHA-256", "zoo.cfg", print)


def test_no_key_stands_in_two_lists() -> None:
    assert not UNNEEDED & KEYS.keys()
    assert not UNNEEDED & REFUSED.keys()
    assert FULFILLED.keys() <= UNNEEDED | REFUSED.keys()


def test_a_key_given_twice_is_noted(home: Home) -> None:
    assert home.load("tickTime=1\ntickTime=3000").tick_time_ms == 3000
    assert [note.rpartition("/")[2] for note in home.notes] == [
        "zoo.cfg:3: tickTime was set in line 2; this one counts"
    ]


def test_relations_are_checked_wherever_a_config_is_made(home: Home) -> None:
    message = "minSessionTimeout (50000 ms) must be more than 0 and at most maxSessionTimeout (40000 ms)"
    assert home.refusal("minSessionTimeout=50000") == f"zoo.cfg: {message}"
    with pytest.raises(ConfigError, match="at most maxSessionTimeout"):
        replace(Config(), min_session_timeout_ms=50000)
    assert "jute.maxbuffer" in home.refusal("jute.maxbuffer=2147483647")


def test_files_that_cannot_be_read(home: Home, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.cfg: cannot be read: No such file"):
        Config.from_file(tmp_path / "missing.cfg", print)
    home.file.write_bytes(b"dataDir=\xff")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        Config.from_file(home.file, print)
    home.file.write_text("tickTime=2000")
    with pytest.raises(ConfigError, match="dataDir is missing"):
        Config.from_file(home.file, print)


# -- ensembles ----------------------------------------------------------------------------------------


def test_an_ensemble(home: Home) -> None:
    config = home.load(THREE + "weight.1=2\ngroup.1=1:2\ngroup.2=3\n", my_id="3\n")
    assert config.members[1] == Member("a", 2888, 3888)
    assert (config.my_id, config.client_port, config.is_ensemble) == (3, 2183, True)
    assert (config.weights, config.groups) == ({1: 2}, {1: frozenset({1, 2}), 2: frozenset({3})})


@pytest.mark.parametrize(
    ("line", "member"),
    [
        ("zk1:2888:3888", Member("zk1", 2888, 3888)),
        ("zk1:2888:3888:observer", Member("zk1", 2888, 3888, "observer")),
        ("zk1:2888:3888:PARTICIPANT;2181", Member("zk1", 2888, 3888, client_address=("", 2181))),
        ("zk1:2888:3888;0.0.0.0:2181", Member("zk1", 2888, 3888, client_address=("0.0.0.0", 2181))),
        ("[::1]:2888:3888;[::]:2181", Member("::1", 2888, 3888, client_address=("::", 2181))),
    ],
)
def test_server_lines(line: str, member: Member) -> None:
    assert read_settings(f"server.1={line}", "zoo.cfg", print) == {"members": {1: member}}
    assert read_settings(f"server.1={member}", "zoo.cfg", print)["members"][1].peer_port == member.peer_port


@pytest.mark.parametrize(
    ("my_id", "message"),
    [
        (None, "data/myid: missing: it must hold this server's id, one of 1, 2, 3"),
        ("one", "data/myid: expected this server's id, an integer, got 'one'"),
        ("", "data/myid: expected this server's id, an integer, got ''"),
        ("4", "data/myid: there is no server.4 among the servers 1, 2, 3"),
    ],
)
def test_a_wrong_myid(home: Home, my_id: str | None, message: str) -> None:
    assert home.refusal(THREE, my_id) == message


def test_one_server_alone_is_standalone_and_needs_no_myid(home: Home) -> None:
    config = home.load("server.5=a:2888:3888")
    assert (config.my_id, config.is_ensemble) == (5, False)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("server.3=a:2888:4000", "two servers (or two ports of one) share a:2888"),
        ("server.3=c:1:1", "two servers (or two ports of one) share c:1"),
        ("weight.9=1", "weight or group names server 9, which has no server line"),
        ("group.1=1:2\ngroup.2=2", "a server is in two groups"),
        ("group.1=1", "where there are groups, each participant must be in one"),
        ("clientPort=1\nserver.1=a:2888:3888;2", "clientPort is 1, but the own server line says 2"),
    ],
)
def test_ensembles_that_cannot_be(home: Home, lines: str, message: str) -> None:
    two = "server.1=a:2888:3888\nserver.2=b:2888:3888\n"
    assert home.refusal(two + lines, my_id="1") == f"zoo.cfg: {message}"


def test_somebody_must_be_able_to_lead(home: Home) -> None:
    text = "server.1=a:2888:3888:observer\nserver.2=b:2888:3888:observer\n"
    assert home.refusal(text, my_id="1") == "zoo.cfg: no server is a participant: nobody could lead"


def test_the_dynamic_file_is_read_too(home: Home, tmp_path: Path) -> None:
    dynamic = tmp_path / "zoo.cfg.dynamic"
    dynamic.write_text(THREE + "version=100000000\n")
    assert set(home.load(f"dynamicConfigFile={dynamic}", my_id="1").members) == {1, 2, 3}
    assert "server lines stand both here and in" in home.refusal(f"dynamicConfigFile={dynamic}\n{THREE}")
    dynamic.write_text("\nserver.1=nonsense")
    assert home.refusal(f"dynamicConfigFile={dynamic}").startswith("zoo.cfg.dynamic:2: server.1: expected")
