"""Our parties and Curator's GroupMember at one path."""

from __future__ import annotations

import pytest
import trio

import coord
from coord import Client
from recipes import CURATOR, MemberNameTaken, Party
from tests.interop.curator.driver import SECONDS, Curator, CuratorClient, needs_curator

pytestmark = [*needs_curator, pytest.mark.trio]

PATH = "/service/members"


def ours(zk: Client) -> Party:
    return Party(zk, PATH, layout=CURATOR)


async def until_members(zk: Client, **expected: str) -> None:
    with trio.fail_after(SECONDS):
        async with ours(zk).watch() as changes:
            async for view in changes:
                if {one.name: one.data.decode() for one in view} == expected:
                    return


async def test_both_see_who_is_there(zk: Client, java: CuratorClient) -> None:
    theirs = await java.member(PATH, "theirs", "host8")
    await theirs.start()
    await until_members(zk, theirs="host8")
    async with ours(zk).join(b"host7", name="ours"):
        await until_members(zk, theirs="host8", ours="host7")
        with trio.fail_after(SECONDS):
            while await theirs.members() != {"theirs": "host8", "ours": "host7"}:
                await trio.sleep(0.01)
    with trio.fail_after(SECONDS):
        while await theirs.members() != {"theirs": "host8"}:
            await trio.sleep(0.01)
    await theirs.close()
    await until_members(zk)


async def test_they_come_back_in_a_new_session(zk: Client, curator: Curator, hosts: str) -> None:
    async with curator.client(hosts) as java:
        theirs = await java.member(PATH, "theirs", "host8")
        await theirs.start()
        await until_members(zk, theirs="host8")
        (before,) = await ours(zk).members()
        await java.expire()
        with trio.fail_after(SECONDS):
            async with ours(zk).watch() as changes:
                async for view in changes:
                    if any(one.czxid > before.czxid for one in view):
                        break
        await theirs.close()


async def test_a_name_is_one_members(zk: Client, java: CuratorClient, hosts: str) -> None:
    """Curator's is waited for, as long as it could take a dead session to end."""
    theirs = await java.member(PATH, "theirs", "host8")
    await theirs.start()
    await until_members(zk, theirs="host8")
    async with coord.connect(hosts, timeout=0.4) as impatient:
        with pytest.raises(MemberNameTaken):
            async with ours(impatient).join(b"host7", name="theirs"):
                raise AssertionError("the name is taken")
    await until_members(zk, theirs="host8")
