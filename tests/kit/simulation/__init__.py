"""Venues on virtual time: a day of faults in seconds, and every message accounted for.

The rules and words are those of `tests/kit/venues`; here they speak over simulated links with a
delay, behind `ports.Dialer`. Each venue keeps a log of all that happened (`log.py`); `checker.py`
compares it with what was published.

    clock, agenda = SteppedClock(), Agenda()
    venue = SimulatedBinance(clock, agenda, Random(1), streams=("btcusdt@trade",))
    world = World(); world.clock, world.dialer = clock, VenueDialer(venue)
    ...                                          # connect
    await pass_time(clock, agenda, until=86_400.0)
    problems = check(account)                    # one sentence each; none is wanted
"""
