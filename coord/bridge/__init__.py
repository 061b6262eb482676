"""The bridge to programs that are not written in trio: threads (`coord.blocking`) and asyncio (`coord.aio`).

========================  ==========================================================================
`portal`, `outcome`       a thread with a trio run of its own, and calls into it
`process`                 the portal that a process shares, through its forks and until its end
`block`                   the trio task behind a `with` or `async with` block of the other side
`facade`, `living`        classes for the other side, made from those for trio, and which they are
`threads`, `loops`        the two other sides: how they wait
`deadlines`               what bounds the calls of a thread
`stub`                    writes what type checkers see of `coord.blocking`
========================  ==========================================================================

Nothing here knows a recipe or a protocol: what crosses the bridge is the client and the recipes for trio.
"""
