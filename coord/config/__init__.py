"""zoo.cfg, argv -> one frozen `Config`: `settings` is the result, `keys` the table of keys, `values` what a
value may be, `properties` the syntax, `zookeeper_keys` what ZooKeeper knows and coord does not use.

Synopsis::

    from coord.config import Config, Member
"""

from coord.config.settings import Config
from coord.config.values import Member

__all__ = ["Config", "Member"]
