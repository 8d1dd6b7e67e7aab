"""What holds for every test."""

from __future__ import annotations

import asyncio

from hypothesis import settings

# pytest-asyncio asks for "the current loop" around a test; on a thread that never set one,
# Python 3.11 makes a loop for the answer, which nobody closes: a ResourceWarning at some later
# collection, blamed on an innocent test. Having set "none" once, no loop is made.
asyncio.set_event_loop(None)

# An example that is slow once says something about the machine, not about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
