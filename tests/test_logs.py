"""One line per event, in the right shape, with nothing private in it."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from wamsg2 import logs

PHONE = "+5215512340001"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def write(self, text: str, /) -> int:
        raise BrokenPipeError(len(text))


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("JOURNAL_STREAM", "INVOCATION_ID", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    root = logging.getLogger()
    level = root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.setLevel(level)
    logging.getLogger("wamsg2").setLevel(logging.NOTSET)
    for handler in [each for each in root.handlers if each.name == "wamsg2.logs"]:
        root.removeHandler(handler)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_event_is_one_json_line_with_a_utc_time_in_milliseconds(stream: io.StringIO) -> None:
    logs.configure(stream)
    structlog.get_logger().info("message_sent", campaign="spring", attempt=1)
    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "event", "campaign", "attempt"]
    assert (line["level"], line["event"], line["campaign"], line["attempt"]) == ("info", "message_sent", "spring", 1)
    written = line["timestamp"]
    assert len(written) == len("2026-11-22T10:00:00.000Z")
    assert written.endswith("Z")


def test_context_is_in_every_line(stream: io.StringIO) -> None:
    logs.configure(stream)
    with structlog.contextvars.bound_contextvars(event_id=7):
        structlog.get_logger().info("stored")
    assert lines(stream)[0]["event_id"] == 7


@pytest.mark.parametrize("variable", ["JOURNAL_STREAM", "INVOCATION_ID"])
def test_json_under_systemd_even_on_a_terminal(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "8:1")
    stream = Terminal()
    logs.configure(stream)
    structlog.get_logger().info("started")
    assert lines(stream)[0]["event"] == "started"


def test_a_terminal_gets_readable_lines_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    logs.configure(stream)
    structlog.get_logger().info("started", phone=PHONE)
    assert "started" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()
    assert "+52…0001" in stream.getvalue()

    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    logs.configure(plain)
    structlog.get_logger().info("started")
    assert "\x1b[" not in plain.getvalue()


def test_the_shape_can_be_chosen(stream: io.StringIO) -> None:
    logs.configure(stream, json=False)
    structlog.get_logger().info("started")
    assert not stream.getvalue().startswith("{")


def test_the_level_is_for_our_events_and_libraries_speak_from_warning_on(stream: io.StringIO) -> None:
    logs.configure(stream, level="error")
    structlog.get_logger().warning("unheard")
    logs.configure(stream, level="debug")
    structlog.get_logger().debug("heard")
    logging.getLogger("aiohttp.access").info("unheard")
    logging.getLogger("aiohttp.server").warning("bad request from %s", PHONE)
    ours, theirs = lines(stream)
    assert (ours["event"], ours["level"]) == ("heard", "debug")
    assert (theirs["event"], theirs["level"]) == ("bad request from +52…0001", "warning")
    assert theirs["logger"] == "aiohttp.server"


def test_warnings_are_lines_too(stream: io.StringIO) -> None:
    logs.configure(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    assert "old ways" in lines(stream)[0]["event"]


def test_configuring_again_replaces_the_stream(stream: io.StringIO) -> None:
    logs.configure(stream)
    second = io.StringIO()
    logs.configure(second)
    structlog.get_logger().info("once")
    assert stream.getvalue() == ""
    assert len(lines(second)) == 1


@pytest.mark.parametrize("name", ["text", "body", "message_text", "secret", "token", "api_key", "authorization"])
def test_private_fields_are_masked_whole_at_any_depth(name: str, stream: io.StringIO) -> None:
    logs.configure(stream)
    structlog.get_logger().info(
        "x", **{name: "private words"}, deep={"more": [{name.upper(): {"a": "private words"}}]}
    )
    assert "private" not in stream.getvalue()
    assert lines(stream)[0][name] == "***"
    assert lines(stream)[0]["deep"] == {"more": [{name.upper(): "***"}]}


def test_numbers_to_call_are_masked_and_ids_are_not(stream: io.StringIO) -> None:
    logs.configure(stream)
    structlog.get_logger().info(
        f"reply of {PHONE}",
        reference="12345678901234567890",
        message_id="1234567890123",
        sent_at="1795341600000",
        timestamp_ms=1795341600000,
        chat="5215512340001@c.us",
        phone=5215512340001,
        url="http://127.0.0.1:8080/webhooks/wassenger?secret=abc&x=1",
        contacts={PHONE: "known"},
        pair=(PHONE, None),
    )
    (line,) = lines(stream)
    assert line["event"] == "reply of +52…0001"
    assert line["reference"] == "12345678901234567890"
    assert line["message_id"] == "1234567890123"
    assert line["sent_at"] == "1795341600000"
    assert line["timestamp_ms"] == 1795341600000
    assert line["chat"] == "52…0001@c.us"
    assert line["phone"] == "52…0001"
    assert line["url"] == "http://127.0.0.1:8080/webhooks/wassenger?secret=***&x=1"
    assert line["contacts"] == {"+52…0001": "known"}
    assert line["pair"] == ["+52…0001", None]


def test_objects_are_redacted_as_they_would_be_written(stream: io.StringIO) -> None:
    class Reply:
        def __repr__(self) -> str:
            return f"Reply(phone={PHONE!r}, text='hola')"

    logs.configure(stream)
    structlog.get_logger().info(
        "x", reply=Reply(), raw=b'{"body": "hola"}', key=SecretStr("hola"), ok=True, none=None
    )
    assert "hola" not in stream.getvalue()
    (line,) = lines(stream)
    assert line["reply"] == "Reply(phone='+52…0001', text=***)"
    assert (line["ok"], line["none"]) == (True, None)


@pytest.mark.parametrize("as_json", [True, False])
def test_tracebacks_are_redacted_and_show_no_locals(as_json: bool, stream: io.StringIO) -> None:  # noqa: FBT001 - a case
    logs.configure(stream, json=as_json)

    def fail() -> None:
        local = "seen " + "by nobody"
        raise ValueError(f"no chat for {PHONE}, secret=abc, {len(local)}")

    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("asyncio").exception("failed too")
    written = stream.getvalue()
    assert written.count("ValueError: no chat for +52…0001, secret=***") == 2
    assert "Traceback" in written
    assert "seen by nobody" not in written
    assert "5512340001" not in written


def test_a_line_that_cannot_be_made_is_replaced_without_its_content(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError(PHONE)

    # pytest's own handler would try to write the line too, and fail less gracefully.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logs.configure(stream)
    structlog.get_logger().info("x", bad=Bad(), text="private")
    assert lines(stream) == [{"level": "error", "event": "log_line_lost", "error": "RuntimeError"}]
    assert capsys.readouterr().err == ""


def test_a_broken_stream_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Broken())
    structlog.get_logger().info("x")
    assert capsys.readouterr().err == ""


def test_without_a_stream_lines_go_to_the_current_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    structlog.get_logger().info("x")
    assert json.loads(capsys.readouterr().err)["event"] == "x"


def test_only_our_own_time_and_level_are_believed(stream: io.StringIO) -> None:
    logs.configure(stream)
    structlog.get_logger().info("x", timestamp=PHONE, level=PHONE, facts={"timestamp": PHONE, "level": [PHONE]})
    assert PHONE not in stream.getvalue()
    (line,) = lines(stream)
    assert line["level"] == "info"
