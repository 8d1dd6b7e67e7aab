"""Keeps records durable: every change is saved first, then its events are published.

`book` is one connection's record in memory with what is not saved yet, `writing` saves it over
the value that is ours and over no other, `ledger` says when.
"""

from websocketmanager.service.ledger.book import Book, Change, Draft, RecordLost
from websocketmanager.service.ledger.ledger import Ledger, Listener

__all__ = ["Book", "Change", "Draft", "Ledger", "Listener", "RecordLost"]
