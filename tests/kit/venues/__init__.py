"""Simulated venues that enforce their real counterparts' rules, with shorter times.

    async with running_venue(Okx(rules=Rules(silence_seconds=0.5))) as venue:
        ...                                     # dial venue.url
        session = await venue.wait_subscribed({"trades BTC-USDT"})
        await venue.wait_data(session, 3)
        assert not venue.violations

What a venue knows is what a client could check against its own view: who logged in, what is
subscribed, every frame that came, every data message that was sent.
"""
