"""The control endpoints, the command line, and that the sandbox stands alone."""

import ast
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

import wamsg2.sandbox
from tests.sandbox.conftest import PHONE, Json, Receiver, Start
from wamsg2.sandbox import Faults, SandboxSettings
from wamsg2.sandbox.command import sandbox as command
from wamsg2.sandbox.run import mask

Post = Callable[..., Awaitable[Json]]


async def test_messages_and_events(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url)
    answer = await post(sandbox)
    await sandbox.settle()
    async with aiohttp.ClientSession(sandbox.root_url) as session:
        async with session.get("/sandbox/messages") as response:
            [message] = await response.json()
        async with session.get("/sandbox/events") as response:
            events = await response.json()
        async with session.get("/sandbox/events?bodies=1") as response:
            with_bodies = await response.json()
    assert (message["id"], message["waId"], message["phone"]) == (answer["id"], answer["waId"], PHONE)
    assert (message["reference"], message["message"], message["priority"]) == ("ref-1", "Hello", "normal")
    assert message["accepted_at"].endswith("Z")
    assert message["monotonic_seconds"] == sandbox.accepted[0].monotonic_seconds
    assert {event["event"] for event in events} == {"message:out:sent", "message:out:ack"}
    assert {(event["outcome"], event["attempts"]) for event in events} == {("acknowledged", 1)}
    assert not any("body" in event for event in events)
    bodies = [body if isinstance(body := event["body"], list) else [body] for event in with_bodies]
    assert [len(body) for body in bodies] == [event["elements"] for event in events]
    assert all(each["event"] == event["event"] for body, event in zip(bodies, events, strict=True) for each in body)


async def test_inbound(start: Start, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url)
    wrong: list[object] = [
        [],
        {"phone": PHONE},
        {"phone": "1", "text": "Yes"},
        {"phone": PHONE, "text": "Yes", "at": "soon"},
        {"phone": PHONE, "text": "Yes", "colour": "red"},
    ]
    async with aiohttp.ClientSession(sandbox.root_url) as session:
        right = {"phone": PHONE, "text": "Yes", "at": "2026-11-22T10:00:00Z", "quoted": "3EB0A1"}
        async with session.post("/sandbox/inbound", json=right) as response:
            assert response.status == 202
            wa_id = (await response.json())["waId"]
        for body in wrong:
            async with session.post("/sandbox/inbound", json=body) as response:
                assert response.status == 400, body
    await sandbox.settle()
    [body] = receiver.bodies
    assert body["id"] == wa_id
    assert (body["data"]["date"], body["data"]["quoted"]["id"]) == ("2026-11-22T10:00:00.000Z", "3EB0A1")


async def test_faults_are_switched_while_running(start: Start, http: aiohttp.ClientSession) -> None:
    sandbox = await start()
    url = f"{sandbox.root_url}/sandbox/faults"
    async with http.put(url, json={"bad_gateway": 1, "timeout_seconds": 3}) as response:
        assert response.status == 200
    assert sandbox.faults == Faults(bad_gateway=1, timeout_seconds=3)
    async with http.get(url) as response:
        assert (await response.json())["bad_gateway"] == 1
    wrongs: list[object] = [{"bad_gatway": 1}, {"bad_gateway": 2}, []]
    for wrong in wrongs:
        async with http.put(url, json=wrong) as response:
            assert response.status == 400
            assert (await response.json())["errorCode"] == "faults:invalid"
    assert sandbox.faults.bad_gateway == 1
    async with http.put(url, json={}) as response:
        assert response.status == 200
    assert sandbox.faults == Faults()


async def test_the_device_goes_offline_and_comes_back(
    start: Start, http: aiohttp.ClientSession, post: Post, receiver: Receiver
) -> None:
    sandbox = await start(webhook_url=receiver.url)
    url = f"{sandbox.root_url}/sandbox/device"
    for _ in range(2):  # only a change is told
        async with http.put(url, json={"online": False}) as response:
            assert (response.status, await response.json()) == (200, {"online": False})
    device_id = SandboxSettings().device_id
    async with http.get(f"{sandbox.base_url}/devices/{device_id}") as response:
        device = await response.json()
    assert device["session"] | {"status": "offline", "operative": False} == device["session"]
    await post(sandbox)
    sandbox.faults = Faults(event_before_answer=1)
    await post(sandbox)
    with pytest.raises(TimeoutError):
        await sandbox.settle(timeout_seconds=0.05)
    assert [message.status for message in sandbox.accepted] == ["queued", "queued"]
    assert receiver.named("message:out:sent") == []
    async with http.put(url, json={"online": True}) as response:
        assert response.status == 200
    await sandbox.settle()
    assert [message.status for message in sandbox.accepted] == ["read", "read"]
    assert len(receiver.named("message:out:sent")) == 2
    changes = [body["data"] for body in receiver.named("number:session")]
    assert [(data["id"], data["status"], data["session"]["status"]) for data in changes] == [
        (device_id, "operative", "offline"),
        (device_id, "operative", "online"),
    ]


@pytest.mark.parametrize("wrong", [[], {}, {"online": 1}, {"online": True, "since": 1}])
async def test_a_wrong_device_state_is_refused(start: Start, http: aiohttp.ClientSession, wrong: object) -> None:
    sandbox = await start()
    async with http.put(f"{sandbox.root_url}/sandbox/device", json=wrong) as response:
        assert response.status == 400
    async with http.get(f"{sandbox.root_url}/sandbox/device") as response:
        assert await response.json() == {"online": True}


def test_a_device_id_has_a_form() -> None:
    with pytest.raises(ValueError, match="24 hex"):
        SandboxSettings(device_id="phone-1")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_only_loopback(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        SandboxSettings(host=host)


def test_help_names_every_fault() -> None:
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0
    for name in Faults.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in result.output


@pytest.mark.parametrize(
    "arguments", [["--bad-gateway", "2"], ["--host", "0.0.0.0"], ["--reply-rate", "1", "--stop-rate", "1"]]
)
def test_wrong_options(arguments: list[str]) -> None:
    assert CliRunner().invoke(command, arguments).exit_code == 2


async def test_the_command_runs_until_it_is_told_to_stop(receiver: Receiver) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", "from wamsg2.sandbox.command import sandbox; sandbox()"),
        *("--port", "0", "--webhook-url", receiver.url, "--sent-delay", "0", "0", "--reply-rate", "0"),
        *("--seed", "1", "--stop-rate", "0", "--reaction-rate", "0", "--delivered-delay", "60", "60"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(Path(wamsg2.sandbox.__file__).parents[2]), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    first = (await process.stdout.readline()).decode()
    base_url = first.split()[-1]
    async with (
        aiohttp.ClientSession(headers={"Token": SandboxSettings().api_key}) as session,
        session.post(f"{base_url}/messages", json={"phone": PHONE, "message": "Hello"}) as response,
    ):
        assert response.status == 201
    lines = ""
    while "message:out:sent acknowledged" not in lines:
        lines += (await process.stdout.readline()).decode()
    process.send_signal(signal.SIGTERM)
    rest, errors = await process.communicate()
    assert process.returncode == 0
    assert errors == b""
    assert "accepted 1 messages to 1 contacts; delivered 1 of 1 webhook events" in rest.decode()
    assert "accepted  +52…0001 normal: Hello" in lines
    assert PHONE not in lines + rest.decode()


def test_a_masked_phone() -> None:
    assert mask(PHONE) == "+52…0001"
    assert mask("") == "…"


def test_the_sandbox_knows_only_the_wire() -> None:
    allowed = {"aiohttp", "click", *sys.stdlib_module_names}
    modules = sorted(Path(wamsg2.sandbox.__file__).parent.glob("*.py"))
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [str(node.module)]
            for name in names:
                assert name.startswith("wamsg2.sandbox") or name.split(".")[0] in allowed, f"{module.name}: {name}"
