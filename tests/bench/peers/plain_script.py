"""The peer that users write themselves: a feed to a topic in thirty lines, one call a message.

python -m tests.bench.peers.plain_script ws://127.0.0.1:9000 127.0.0.1:5002 marketdata.bench
"""

import asyncio
import sys

import grpc
from websockets.asyncio.client import connect

from websocketmanager._proto.virtufin_api.virtufin_api_pb2 import PublishRequest
from websocketmanager._proto.virtufin_api.virtufin_api_pb2_grpc import PubsubStub


async def main(url: str, api: str, topic: str) -> None:
    async with grpc.aio.insecure_channel(api) as channel, connect(url) as feed:
        pubsub = PubsubStub(channel)
        number = 0
        async for message in feed:
            number += 1
            data = message if isinstance(message, bytes) else message.encode()
            metadata = {
                "ce-specversion": "1.0",
                "ce-type": "bench.message",
                "ce-source": url,
                "ce-id": str(number),
            }
            await pubsub.PublishEvent(PublishRequest(topic=topic, data=data, metadata=metadata))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
