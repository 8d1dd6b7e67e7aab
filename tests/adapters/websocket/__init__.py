"""The WebSocket adapter against loopback peers."""
