"""`ports.MessageLog` on SQLite."""

from websocketmanager.adapters.message_log.log import SqliteMessageLog

__all__ = ["SqliteMessageLog"]
