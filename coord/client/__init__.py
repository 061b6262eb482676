"""The client, from the inside out; its public names are those of `coord`.

========================  ==========================================================================
pure                      `calls` `lease` `watches` `paths` `requests`, and `session`, which joins them
trio                      `link` (the connection's task), `hosts` (where to connect to)
what the caller holds     `client` with `operations`, `guarantee`, `watching`, `transaction`, `janitor`
========================  ==========================================================================
"""
