"""The composition root: what the service is made of, how it starts and how it stops.

Holds no product rule. `policies` says what each part gets of the settings, `parts` makes them,
`running` starts and stops them in order, `gauges` shows their numbers.
"""

from websocketmanager.app.parts import SinkMaker
from websocketmanager.app.policies import profiles_of
from websocketmanager.app.running import App, running_app

__all__ = ["App", "SinkMaker", "profiles_of", "running_app"]
