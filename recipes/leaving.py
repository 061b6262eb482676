"""How a broker leaves without anybody missing it: it asks the controller first, and waits for its answer.

Owns the broker's side of a controlled shutdown. The request is an ephemeral znode below
`/admin/controlled_shutdown`, named after the broker and its epoch; the controller writes its own epoch into
it once the broker has handed over everything, or deletes it if that registration is not the present one.

Rules that hold here:

- While the request stands, no controller lets the broker lead what others can; so it stands until the
  registration is gone.
- A request is good for one registration: after a session has expired it is made anew, for the new epoch.
"""

from __future__ import annotations

from functools import partial
from operator import ne

from trio_util import AsyncValue

from coord import Client, ConnectionLost, NodeExists, NoNode, SessionExpired
from recipes.grant import Standing, let_go
from recipes.kafka import broker_path
from recipes.kafka_requests import SHUTDOWNS, Leave, decode_leave, encode_leave


async def leave(zk: Client, chroot: str, broker_id: int, epochs: AsyncValue[int]) -> Standing:
    """Returns the request, once granted; cancelled, takes it back."""
    while True:
        request = Leave(broker_id, epochs.value)
        standing = Standing(chroot + request.path, request.broker_epoch, zk.session.id)
        granted = False
        try:
            await _ask(zk, standing.path, request)
            granted = await _answer(zk, standing.path)
        except SessionExpired:
            pass
        finally:
            if not granted:
                await let_go(zk, standing)
        if granted:
            return standing
        if not await _is_registered(zk, chroot, request):
            await epochs.wait_value(partial(ne, request.broker_epoch))


async def _ask(zk: Client, path: str, request: Leave) -> None:
    while True:
        try:
            await zk.create(path, encode_leave(request), ephemeral=True)
            return
        except NodeExists:
            return  # the reply was lost: nobody else has this epoch
        except NoNode:
            await zk.ensure_path(path.removesuffix(request.path) + SHUTDOWNS)
        except ConnectionLost:
            continue


async def _answer(zk: Client, path: str) -> bool:
    """Was it granted? False once it is gone: refused, or lost with the session."""
    while True:
        with zk.watch() as watch:
            try:
                data, _ = await zk.get(path, watch=watch)
            except NoNode:
                return False
            if decode_leave(path, data).granted_by is not None:
                return True
            await watch.wait()


async def _is_registered(zk: Client, chroot: str, request: Leave) -> bool:
    try:
        stat = await zk.exists(chroot + broker_path(request.broker_id), linearizable=True)
    except SessionExpired:
        return False
    return stat is not None and stat.czxid == request.broker_epoch
