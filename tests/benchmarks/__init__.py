"""How fast, how flat, how small: every figure beside a bare baseline of the same run.

    .venv/bin/pytest -n 0 -m benchmark -s

measures all of them with 10 thousand and 100 thousand contacts, prints each as it is known, and closes with a table.
In the environment:

    WAMSG2_BENCHMARK_FULL=1               with 1 million contacts and 5 million messages too, and longer runs
    WAMSG2_BENCHMARK_JSON=results.json    writes the figures, for `python -m tests.benchmarks.compare OLD NEW`

A bar that is not met does not fail the run: machines differ, and others may be busy. A broken result does: a message
that is lost or doubled, a webhook that is not answered with 200.

The daemon, the load, the far end (Wassenger) and every baseline are each a process of their own, so that none of them
is measured on another's event loop:

`far_end`        a Wassenger that costs next to nothing and notes when each request began
`generator`      prepared requests over kept-alive connections, as fast as answered or at a rate
`bare_listener`  the baseline of webhooks: aiohttp, the same HMAC, `json.loads`
`bare_sender`    the baseline of sends: an aiohttp client in a loop

What they share: `figures` (values, bars, table, JSON), `machine` (fsync, processor, memory), `databases` (of a given
size, by bulk SQL), `webhooks` (the mix of bodies), `load` (its requests), `children`
(processes), `ground` (a daemon on a database), `sizes` (how much).
"""
