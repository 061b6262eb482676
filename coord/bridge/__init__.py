"""The bridge to programs that are not written in trio: threads (`coord.blocking`) and asyncio (`coord.aio`).

========================  ==========================================================================
`portal`                  a thread with a trio run of its own, and calls into it
`block`                   the trio task behind a `with` or `async with` block of the other side
`threads`                 what a thread does while trio works for it
========================  ==========================================================================

Nothing here knows a recipe or a protocol: what crosses the bridge is the client and the recipes for trio.
"""
