"""The commands of `coord` that talk to a server, under zkCli's names.

`commands` is what each command does, `texts` how things are read and printed, `app` the command line around
them. A shell needs another `app`, not other commands.
"""
