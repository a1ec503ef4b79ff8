"""SENTINEL_GATEWAY=1: other programs stand in the queue of Sentinel's own questions."""

import asyncio

import aiohttp
import pytest

from app.services.gateway import MountedGateway
from tests.gateway.conftest import Door, until
from tests.servers.sentinel import Running, running

pytestmark = pytest.mark.anyio


def door_of(sentinel: Running, session: aiohttp.ClientSession) -> Door:
    beside = sentinel.system._beside
    assert isinstance(beside, MountedGateway)
    return Door(beside.gateway, session)


async def test_one_queue_for_sentinel_and_for_the_programs_beside_it(
    postgres_url: str, redis_url: str, synthetic_engine
) -> None:
    async with (
        running(postgres_url, redis_url, synthetic_engine.url, gateway=True, gateway_port=0) as sentinel,
        aiohttp.ClientSession() as session,
    ):
        door = door_of(sentinel, session)
        (station,) = sentinel.sentinel.dispatcher.stations
        model = next(iter(door.gateway.directory.engines[0].models))
        async with door.chat("hi", model=model, options={"num_predict": 4}) as reply:
            assert reply.status == 200
            await reply.read()
        assert door.gateway.admission.flows == (station,)
        assert (await sentinel.chat("hi")).status_code == 200
        station.pin(1)
        long = asyncio.ensure_future(
            door.v1("Tell me", model=model, stream=True, max_tokens=100_000, ignore_eos=True)
        )
        await until(lambda: station.inflight == 1)
        question = asyncio.ensure_future(sentinel.chat("and me?"))
        await until(lambda: len(station.queue) == 1)
        (await long).close()
        assert (await question).status_code == 200
        async with session.get(f"{door.url}/gateway/state") as reply:
            (queue,) = (await reply.json())["queues"]
        assert (queue["model"], queue["limit"]) == (station.model or model, 1)


async def test_a_key_of_sentinel_opens_both_doors_as_the_same_tenant(
    postgres_url: str, redis_url: str, synthetic_engine
) -> None:
    keys = ("ana:key-of-ana", "ben:key-of-ben")
    async with (
        running(
            postgres_url, redis_url, synthetic_engine.url, gateway=True, gateway_port=0, tenant_keys=keys
        ) as sentinel,
        aiohttp.ClientSession() as session,
    ):
        door = door_of(sentinel, session)
        model = next(iter(door.gateway.directory.engines[0].models))
        for key, status in (("key-of-ana", 200), ("nobody", 401)):
            headers = {"authorization": f"Bearer {key}"}
            async with door.v1("hi", model=model, max_tokens=4, headers=headers) as reply:
                assert reply.status == status
        assert [each.key for each in door.gateway.seen.last] == ["ana"]
        answer = await sentinel.chat("hi", headers={"X-API-Key": "key-of-ana"})
        assert answer.status_code == 200
