"""`coord bench`: a load for any server that speaks ZooKeeper's client protocol, and what it took of it.

`workload` (which request comes next), `histogram`, `tally` and `report` are pure; `engine` owns the sockets,
`sessions` their beginning and end, `meter` the line that shows how it goes, `bench` the whole.
"""
