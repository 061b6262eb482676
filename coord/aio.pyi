# The classes for asyncio have the very signatures of those for trio.
from trio import ClosedResourceError as ClosedResourceError
from trio import EndOfChannel as EndOfChannel
from trio import WouldBlock as WouldBlock

from coord import *  # noqa: F403  # all of them, whatever they are
from coord.bridge.portal import TooSlowError as TooSlowError
from recipes import *  # noqa: F403  # all of them, whatever they are
