"""One attempt of a connection: a socket, what is said on it, and what watches over it.

`session` is its life, `opening` its dial and dialogue, `intake` the way of what it reads;
`speaker`, `subscriptions`, `vigil` and `chores` are what it says, wants, watches and does beside.
"""

from websocketmanager.service.session.session import Session
from websocketmanager.service.session.surroundings import Ears, SessionTools

__all__ = ["Ears", "Session", "SessionTools"]
