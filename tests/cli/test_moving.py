"""`coord export` and `coord import`: what comes back, what is said, and what is left alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

import coord
from coord.cli.exporting import Kind, export, kind_of
from coord.cli.importing import ON_CONFLICT, OnConflict, import_
from coord.cli.jobs import Advance
from coord.cli.source import Source
from coord.cli.subtrees import delete_all
from coord.cli.transfer import FORMATS
from coord.testing import embedded_server
from tests.cli.conftest import Coord, Ran, Refused
from tests.cli.many import cancel_after_turns, create_many
from tests.cli.recorder import Recorder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "export"


@pytest.fixture
def app(ok: Coord) -> Coord:
    """The commands, with a subtree /app of four znodes, one of them with an ACL of its own."""
    if "app" in ok("ls /"):
        ok("deleteall /app")
    ok("create /app root")
    ok("create /app/b world:anyone:cdrwa")
    ok("create /app/a 'ä \"quoted\"' world:anyone:crwda,ip:127.0.0.1:r")
    ok("create -s /app/a/n- x")
    return ok


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_exported_comes_back_the_same_elsewhere(app: Coord, file: Path, form: str) -> None:
    assert app(f"export --format {form} -o {file} /app") == f"4 znodes exported to {file}\n"
    assert app(f"import {file} /copy") == "/copy: 4 created\n"
    assert app("ls -R /copy").replace("/copy", "/app") == app("ls -R /app")
    for path in ("", "/a", "/a/n-0000000000", "/b"):
        assert app(f"get /copy{path}") == app(f"get /app{path}")
        assert app(f"getAcl /copy{path}") == app(f"getAcl /app{path}")
    app("deleteall /app")
    assert json.loads(app(f"--json import {file}")) == {
        "path": "/app",
        "created": 4,
        "replaced": 0,
        "skipped": 0,
        "dry_run": False,
    }
    app("deleteall /copy")


def test_standard_output_into_standard_input(app: Coord, command: list[str]) -> None:
    exported = subprocess.run([*command, "export", "/app"], capture_output=True, check=True)
    assert [json.loads(line)["path"] for line in exported.stdout.splitlines()[:-1]] == [
        "/app",
        "/app",
        "/app/a",
        "/app/b",
        "/app/a/n-0000000000",
    ]
    got = subprocess.run(
        [*command, "import", "-", "/piped"], input=exported.stdout, capture_output=True, check=True
    )
    assert got.stdout == b"/piped: 4 created\n"
    again = subprocess.run([*command, "--json", "export", "/app"], capture_output=True, check=True)
    assert again.stdout == exported.stdout
    app("deleteall /piped")


def test_what_is_in_the_way(app: Coord, refused: Refused, file: Path) -> None:
    app(f"export -o {file} /app")
    app("create /way")
    app("create /way/a mine")
    code, text = refused(f"import {file} /way")
    assert (code, text) == (
        1,
        "import /way: the znode exists already, and 1 others; nothing was written (see --on-conflict)",
    )
    assert app("ls /way") == "[a]\n"
    assert (
        app(f"import -n --on-conflict skip {file} /way") == "/way: 2 would be created, 2 would be skipped\n"
    )
    assert app("ls /way") == "[a]\n"
    assert app(f"import --on-conflict skip {file} /way") == "/way: 2 created, 2 skipped\n"
    assert app("get /way/a") == "mine\n"
    assert app(f"import -n --on-conflict replace {file} /way").startswith(
        "/way: 0 would be created, 4 would be"
    )
    assert app("get /way/a") == "mine\n"
    assert app(f"import --on-conflict replace {file} /way") == "/way: 0 created, 4 replaced\n"
    assert app("get /way/a") == app("get /app/a")
    assert app("getAcl /way/a") == app("getAcl /app/a")
    app("deleteall /way")


def test_a_damaged_file_is_refused_before_anything_is_written(
    app: Coord, refused: Refused, file: Path
) -> None:
    app(f"export -o {file} /app")
    whole = file.read_bytes()
    for torn, message in (
        (whole[:300], r"line 3: not JSON \(the file ends there\): .*"),
        (whole.rpartition(b'{"end"')[0], "after line 5: the file ends in the midst of the export"),
        (b"\x00garbage", "offset 0: not the header of an export of coord"),
    ):
        file.write_bytes(torn)
        code, text = refused(f"import {file} /torn")
        assert code == 2
        assert re.fullmatch(f"{re.escape(str(file))}: {message}", text)
    assert "torn" not in app("ls /")
    assert refused("import /none/none") == (2, "/none/none: No such file or directory")


def test_no_place_to_import_it_to(app: Coord, refused: Refused, file: Path) -> None:
    app(f"export -o {file} /app")
    assert refused(f"import {file} /no/parent") == (1, "import /no/parent: there is no /no to create it in")
    assert refused(f"import {file} no/slash")[0] == 2


def test_an_export_needs_its_znode_and_its_file(app: Coord, refused: Refused, tmp_path: Path) -> None:
    assert refused("export /none") == (1, "export /none: there is no such znode")
    assert refused(f"export -o {tmp_path}/none/x /app")[0] == 1
    assert refused(f"export -o {tmp_path}/x /none")[0] == 1
    assert list(tmp_path.iterdir()) == []


def test_thousands_of_znodes_and_large_ones(app: Coord, server: str, file: Path) -> None:
    paths = create_many(server, "/thousands", 3000, b"x")
    for number in range(20):
        app(f"set {paths[number]} {'y' * 120_000}")
    app(f"export -o {file} /thousands")
    assert app(f"import {file} /again") == "/again: 3000 created\n"
    assert app("ls -R /again").replace("/again", "/thousands").splitlines() == paths
    assert app(f"get {paths[19]}".replace("/thousands", "/again")) == "y" * 120_000 + "\n"
    app("deleteall /again")
    app("deleteall /thousands")


@pytest.mark.trio
async def test_an_export_that_is_stopped_leaves_no_file(tmp_path: Path) -> None:
    class Stopping(Recorder):
        """Cancels once the first znodes were written."""

        @contextmanager
        def progress(self, label: str, total: int | None = None) -> Iterator[Advance]:
            yield lambda number: scope.cancel()

    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        with trio.CancelScope() as scope:
            await export(zk, Stopping(), "/", file=f"{tmp_path}/file")
        assert scope.cancelled_caught
        assert list(await trio.Path(tmp_path).iterdir()) == []


@pytest.mark.trio
async def test_an_import_over_a_killed_server_says_how_far_it_came_and_goes_on(tmp_path: Path) -> None:
    class Killing(Recorder):
        """Has the server killed once something was imported."""

        @contextmanager
        def progress(self, label: str, total: int | None = None) -> Iterator[Advance]:
            with super().progress(label, total) as advance:
                yield lambda number: (advance(number), number and imported.set())

    async def kill_and_restart() -> None:
        await imported.wait()
        await server.kill()
        await server.start()

    count, imported, file = 4000, trio.Event(), f"{tmp_path}/many"
    async with (
        embedded_server(data_dir=tmp_path / "data") as server,
        coord.connect(server.connect_string) as zk,
        trio.open_nursery() as nursery,
    ):
        await trio.to_thread.run_sync(create_many, server.connect_string, "/many", count, b"x" * 300)
        await export(zk, Recorder(), "/many", file=file)
        nursery.start_soon(kill_and_restart)
        out = Killing()
        with trio.fail_after(30):
            with pytest.raises(coord.ConnectionLost):
                await import_(zk, out, Source(file), "/copy")
            assert 0 < out.progressed["importing"] < count
            assert await zk.count_descendants("/copy") + 1 >= out.progressed["importing"]
            await import_(zk, out, Source(file), "/copy", on_conflict="skip")
        assert await zk.count_descendants("/copy") == count - 1


@pytest.mark.trio
async def test_ephemerals_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        await zk.create("/e")
        await zk.create("/e/me", b"x", ephemeral=True)
        out = Recorder()
        await export(zk, out, "/e", file=f"{tmp_path}/without")
        assert out.lines[0] == "ephemeral znodes left out: 1 (--with-ephemerals keeps them)"
        await export(zk, out, "/e", file=f"{tmp_path}/with", with_ephemerals=True)
        out = Recorder()
        await import_(zk, out, Source(f"{tmp_path}/with"), "/copy")
        assert out.lines == [
            "ephemeral znodes of the export, imported as persistent ones: 1",
            "/copy: 2 created",
        ]
        stat = await zk.exists("/copy/me")
        assert stat is not None
        assert stat.ephemeral_owner == 0


@pytest.mark.trio
async def test_passwords_that_the_server_hides_are_told_of(tmp_path: Path) -> None:
    async with embedded_server() as server:
        async with coord.connect(server.connect_string, auth=[("digest", "ann:secret")]) as ann:
            everybody = coord.ACL(coord.Perms.READ, coord.Id("world", "anyone"))
            await ann.create("/secret", acl=[everybody, *coord.CREATOR_ACL])
            out = Recorder()
            await export(ann, out, "/secret", file=f"{tmp_path}/hers")
            assert len(out.lines) == 1
        async with coord.connect(server.connect_string) as other:
            out = Recorder()
            await export(other, out, "/secret", file=f"{tmp_path}/others")
            assert "password hashes the server hides from this client: 1" in str(out.lines[0])


@pytest.mark.trio
async def test_flags_of_a_file_are_kept_and_acls_can_be_left_behind(tmp_path: Path) -> None:
    acl = '[{"scheme": "world", "id": "anyone", "perms": "cr"}]'
    (tmp_path / "made").write_text(
        '{"export": "coord", "version": 1, "path": "/"}\n'
        f'{{"path": "/", "data": "root", "acl": {acl}}}\n'
        f'{{"path": "/c", "data": "", "acl": {acl}, "container": true}}\n'
        f'{{"path": "/t", "data": "", "acl": {acl}, "ttl_ms": 60000}}\n'
        '{"end": true, "znodes": 3}\n'
    )
    async with (
        embedded_server(container_check_interval_ms=50) as server,
        coord.connect(server.connect_string) as zk,
    ):
        out = Recorder()
        await import_(zk, out, Source(f"{tmp_path}/made"), open_acl=True)
        assert out.lines == ["/: 2 created, 1 skipped"]
        assert (await zk.get("/"))[0] == b""
        assert (await zk.get_acl("/t"))[0] == list(coord.OPEN_ACL)
        await zk.create("/c/child")
        await zk.delete("/c/child")
        with trio.fail_after(5):
            async with zk.watch_exists("/c") as states:  # a container: it goes with its last child
                async for state in states:
                    if state is None:
                        break
        await import_(zk, out, Source(f"{tmp_path}/made"), on_conflict="replace")
        assert out.lines[1] == "/: 1 created, 2 replaced"
        assert (await zk.get("/"))[0] == b"root"


@pytest.mark.parametrize(
    ("owner", "kind"),
    [
        (0, Kind()),
        (0x1000001, Kind(ephemeral=True)),
        (-(1 << 63), Kind(container=True)),
        ((0xFF << 56) - (1 << 64) + 5000, Kind(ttl_ms=5000)),
    ],
)
def test_what_old_servers_tell_of_a_znodes_kind(owner: int, kind: Kind) -> None:
    assert kind_of(coord.Stat(0, 0, 0, 0, 0, 0, 0, owner, 0, 0, 0)) == kind


def test_an_import_that_ends_early_says_how_far_it_came(
    app: Coord, run: Callable[[str], Ran], file: Path
) -> None:
    app(f"export -o {file} /app")
    text = file.read_text().replace('"id": "127.0.0.1"', '"id": "no address"')
    file.write_text(text)
    ran = run(f"import {file} /early")
    assert ran.code == 1
    assert ran.err.startswith("coord: create /early/a: the ACL is empty or not valid")
    assert ran.err.endswith("; importing: 1 of 4\n")
    assert app(f"import --on-conflict skip --open-acl {file} /early") == "/early: 3 created, 1 skipped\n"
    app("deleteall /early")


@pytest.mark.trio
@pytest.mark.parametrize("on_conflict", ON_CONFLICT)
async def test_parents_that_let_nobody_in_get_their_children_and_their_acl(
    tmp_path: Path, on_conflict: OnConflict
) -> None:
    async with embedded_server() as server:
        async with coord.connect(server.connect_string, auth=[("digest", "ann:secret")]) as ann:
            everybody = coord.ACL(coord.Perms.READ, coord.Id("world", "anyone"))
            await ann.create("/shut", acl=coord.CREATOR_ACL)
            await ann.create("/shut/reading")
            await ann.create("/shut/reading/x")
            await ann.set_acl("/shut/reading", [everybody])
            await export(ann, Recorder(), "/shut", file=f"{tmp_path}/shut")
            acls = [(await ann.get_acl(path))[0] for path in ("/shut", "/shut/reading", "/shut/reading/x")]
        async with coord.connect(server.connect_string) as bob:
            if on_conflict == "replace":
                await bob.create("/copy")
            out = Recorder()
            await import_(bob, out, Source(f"{tmp_path}/shut"), "/copy", on_conflict=on_conflict)
            assert "created" in str(out.lines[0])
        async with coord.connect(server.connect_string, auth=[("digest", "ann:secret")]) as ann:
            paths = ("/copy", "/copy/reading", "/copy/reading/x")
            assert [(await ann.get_acl(path))[0] for path in paths] == acls


@pytest.mark.trio
async def test_nobody_gets_in_while_an_import_fails(tmp_path: Path) -> None:
    invalid = '"acl": [{"scheme": "nonsense", "id": "x", "perms": "r"}]'
    shut = '"acl": [{"scheme": "world", "id": "anyone", "perms": "r"}]'
    (tmp_path / "made").write_text(
        '{"export": "coord", "version": 1, "path": "/a"}\n'
        f'{{"path": "/a", "data": "", {shut}}}\n{{"path": "/a/x", "data": "", {invalid}}}\n'
        '{"end": true, "znodes": 2}\n'
    )
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        with pytest.raises(coord.InvalidACL):
            await import_(zk, Recorder(), Source(f"{tmp_path}/made"))
        assert (await zk.get_acl("/a"))[0] == [coord.ACL(coord.Perms.READ, coord.Id("world", "anyone"))]


@pytest.mark.trio
async def test_an_import_that_is_cancelled_leaves_no_way_in_and_says_truly_how_far_it_came(
    tmp_path: Path,
) -> None:
    """Wherever it is cancelled: also the znodes whose creation was under way have no ACL but their own."""
    reading = [{"scheme": "world", "id": "anyone", "perms": "rd"}]
    znodes = [{"path": "/a", "data": ""}, {"path": "/a/b", "data": ""}]
    znodes += [{"path": f"/a/b/{number}", "data": ""} for number in range(1200)]
    records = [
        {"export": "coord", "version": 1, "path": "/a"},
        *({**znode, "acl": reading} for znode in znodes),
        {"end": True, "znodes": len(znodes)},
    ]
    (tmp_path / "shut").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        for turns in range(0, 200, 8):
            out = Recorder()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_after_turns, scope, turns)
                    await import_(zk, out, Source(f"{tmp_path}/shut"))
                    nursery.cancel_scope.cancel()
            there = [path for path in ("/a", "/a/b") if await zk.exists(path)]
            count = await zk.count_descendants("/a") + 1 if there else 0
            assert count == out.progressed.get("importing", 0), turns
            for path in there:
                assert (await zk.get_acl(path))[0] == [
                    coord.ACL(coord.Perms.READ | coord.Perms.DELETE, coord.Id("world", "anyone"))
                ]
            if there:
                await delete_all(zk, Recorder(), "/a")


@pytest.mark.parametrize("words", [[], ["shell", "-c"]])
def test_the_file_is_closed_where_there_is_no_server(app: Coord, file: Path, words: list[str]) -> None:
    app(f"export -o {file} /app")
    development = [sys.executable, "-X", "dev", "-m", "coord", "--server", "127.0.0.1:1", "--timeout", "0.2"]
    line = [*words, f"import {file}"] if words else ["import", str(file)]
    ran = subprocess.run([*development, *line], capture_output=True, text=True, check=False)
    assert ran.returncode == 3
    assert re.fullmatch(r"coord: no answer from [^\n]+\n", ran.stderr)
