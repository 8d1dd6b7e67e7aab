"""The whole service from outside: real sockets, the real API wire, real processes."""
