"""The interactive shell: lines of the same grammar as the command line's, done in one session that lives on.

`start` puts it together and `shell` runs it; `lines` takes a line apart, `grammar` knows what it may say,
`connection` keeps the session, `watching` its watches, and `terminal` or `plain` reads.
"""
