"""One attempt of a connection: a socket, what is said on it, and what watches over it."""

from websocketmanager.service.session.session import Ears, Session, SessionTools

__all__ = ["Ears", "Session", "SessionTools"]
