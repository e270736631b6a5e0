"""How soon `GET /status` is answered with a million messages in 51 campaigns."""

from dataclasses import replace
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.benchmarks import databases, generator, sizes
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.generator import Task
from tests.benchmarks.ground import Bench

REQUESTS = 1000


@pytest.mark.benchmark
async def test_status(bench: Bench) -> None:
    async with bench.ground(databases.waiting(sizes.MEDIUM)) as made:
        daemon = await made.start()
        async with aiohttp.ClientSession() as session, session.get(f"{made.admin_url}/status") as response:
            size_bytes, status = len(await response.read()), await response.json()
        assert len(status["campaigns"]) == 51
        assert sum(campaign["message_1"]["read"] for campaign in status["campaigns"]) == 1_000_000
        port = urlsplit(made.admin_url).port or 0
        task = Task(port=port, target="/status", what="gets", count=REQUESTS, connections=1)
        theirs = await generator.run(replace(task, port=bench.bare.port, target=f"/bytes/{size_bytes}"))
        ours = await generator.run(task)
        await made.finished(daemon)
    for key, share, bar in (("p50", 0.5, None), ("p99", 0.99, at_most(5))):
        what = f"GET /status, 1,100,000 messages, 51 campaigns, {key}"
        values = ours.percentile_ms(share), theirs.percentile_ms(share)
        figure = Figure(f"status.{key}", what, values[0], "ms", values[1], "a bare handler, as many bytes", bar)
        bench.report.add(figure)
