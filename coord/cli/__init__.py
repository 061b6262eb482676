"""The commands of `coord` that talk to a server, under zkCli's names.

A line becomes a `Job` (`jobs`) by the grammar (``grammar``, ``grammar_*``, `transaction_syntax`); then
`one_command` does it in a session of its own, or `shell` among others in one that lives on, and `app` tells
what went wrong, as `failures` has it. What commands do: `commands`
(one znode), `transactions`, `subtrees`, `tree`, `exporting` and `importing` (whole subtrees, by `walk`),
`members` (servers). What they find are values of `results`, which `printing` writes.
"""
