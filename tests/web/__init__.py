"""Tests of the HTTP face, over real sockets."""
