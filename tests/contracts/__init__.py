"""One suite per port, run on its memory twin and on the real adapters."""
