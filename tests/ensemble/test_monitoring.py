"""What the members of a real ensemble tell of themselves: four-letter words, and their logs."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
import trio

import coord
from tests.ensemble.processes import EnsembleProcesses
from tests.rawclient import four_letters

TEST_SECONDS = 60.0


async def word(ensemble: EnsembleProcesses, one: int, what: bytes) -> str:
    return (await trio.to_thread.run_sync(partial(four_letters, ensemble.port(one), what))).decode()


async def mntr(ensemble: EnsembleProcesses, one: int) -> dict[str, str]:
    lines = (await word(ensemble, one, b"mntr")).splitlines()
    return {key: value for key, _, value in (line.partition("\t") for line in lines)}


@pytest.mark.trio
async def test_monitoring_tells_leader_and_followers_apart(tmp_path: Path) -> None:
    with trio.fail_after(TEST_SECONDS):
        async with EnsembleProcesses(tmp_path, 3) as ensemble:
            leader = await ensemble.leader()
            async with coord.connect(ensemble.hosts()) as zk:
                await zk.create("/a", b"x" * 5000)
            told = await mntr(ensemble, leader)
            assert (
                told.items()
                >= {
                    "zk_server_state": "leader",
                    "zk_peer_state": "leading - broadcast",
                    "zk_leader_id": str(leader),
                    "zk_learners": "2",
                    "zk_synced_followers": "2",
                    "zk_synced_observers": "0",
                    "zk_synced_non_voting_followers": "0",
                    "zk_pending_syncs": "0",
                    "zk_quorum_size": "3",
                }.items()
            )
            assert int(told["zk_max_proposal_size"]) > 5000 > int(told["zk_min_proposal_size"]) > 0
            assert 0 < int(told["zk_leader_uptime"]) <= int(told["zk_uptime"])
            sizes = "/".join(told[f"zk_{which}_proposal_size"] for which in ("last", "min", "max"))
            assert f"\nProposal sizes last/min/max: {sizes}\n" in await word(ensemble, leader, b"srvr")
            for follower in ensemble.followers(leader):
                told = await mntr(ensemble, follower)
                assert (
                    told.items()
                    >= {
                        "zk_server_state": "follower",
                        "zk_peer_state": "following - broadcast",
                        "zk_leader_id": str(leader),
                        "zk_quorum_size": "3",
                    }.items()
                )
                assert not {key for key in told if "learners" in key or "proposal" in key or "synced" in key}
                assert "Proposal sizes" not in await word(ensemble, follower, b"srvr")
                conf = await word(ensemble, follower, b"conf")
                membership = conf.partition("membership: \n")[2].splitlines()
                assert [line.partition("=")[0] for line in membership] == [
                    *("server.1", "server.2", "server.3", "version")
                ]
                assert all(line.endswith(":participant") for line in membership[:3])
            ensemble.kill(ensemble.followers(leader)[0])
            while (await mntr(ensemble, leader))["zk_synced_followers"] != "1":
                await trio.sleep(0.01)


def events(ensemble: EnsembleProcesses, one: int) -> list[str]:
    """What the member's log says of its roles."""
    lines = (line.partition(" coord.peers ")[2] for line in ensemble.log(one, 1000).splitlines())
    words = ("looking for", "joining", "following", "elected", "leading", "lost", "stepped", "gave up")
    return [line for line in lines if line.startswith(words)]


@pytest.mark.trio
async def test_an_election_can_be_followed_in_the_logs(tmp_path: Path) -> None:
    with trio.fail_after(TEST_SECONDS):
        async with EnsembleProcesses(tmp_path, 3) as ensemble:
            old = await ensemble.leader()
            assert [line.split()[0] for line in events(ensemble, old)][-2:] == ["elected", "leading"]
            before = {one: len(events(ensemble, one)) for one in ensemble.ids}
            ensemble.kill(old)
            new = await ensemble.until_all_serve()
            other = next(one for one in ensemble.running if one != new)
            epoch = await ensemble.zxid(new) >> 32

            def has_followed() -> bool:
                return any(line.startswith("following") for line in events(ensemble, other)[before[other] :])

            await ensemble.until(has_followed)
            said = {one: events(ensemble, one)[before[one] :] for one in (new, other)}
            why = 'reason="the connection has closed"'
            lost = rf"lost the leader, looking for one leader={old} epoch=\d+ {why}"
            vote = r"round=\d+ vote_epoch=\d+ vote_zxid=0x[0-9a-f]+"
            assert re.fullmatch(f"{lost} {vote}", said[new][0])
            assert re.fullmatch(f"{lost} {vote}", said[other][0])
            members = ",".join(map(str, sorted((new, other))))
            assert re.fullmatch(r"elected to lead round=\d+", said[new][-2])
            assert re.fullmatch(rf"leading epoch=\d+ zxid=0x[0-9a-f]+ members={members}", said[new][-1])
            assert re.fullmatch(rf"joining a leader leader={new} round=\d+", said[other][-2])
            following = rf"following leader={new} epoch=(\d+) zxid=0x[0-9a-f]+ synchronised_by=(diff|trunc)"
            found = re.fullmatch(following, said[other][-1])
            assert found
            assert int(found[1]) >= epoch
            assert max(map(len, said.values())) < 10, "it is no use if it cannot be read"
