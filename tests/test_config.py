"""Where settings come from, what is refused, and that no secret is ever shown."""

import base64
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from wamsg2 import config
from wamsg2.config import ConfigError, Settings, load

DEVICE = "0123456789abcdef01234567"
SECRET = "s3cr3t-value"
EXAMPLE = Path(__file__).parents[1] / "config.example.toml"


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without a configuration, and a machine without one in /etc."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "DEFAULT_FILES", (Path("config.toml"), tmp_path / "etc.toml"))


def write(text: str, name: str = "config.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def refusal(text: str = "", **arguments: Any) -> str:
    """The message with which a file, overrides or environment are refused."""
    with pytest.raises(ConfigError) as caught:
        load(write(text), **{"environ": {}, **arguments})
    return str(caught.value)


def revealed(secrets: tuple[SecretStr, ...]) -> list[str]:
    return [secret.get_secret_value() for secret in secrets]


# --- defaults and sources ---------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_contract() -> None:
    settings = load(environ={})
    assert settings == Settings()
    assert settings.model_dump() == {
        "wassenger": {
            "api_key": None,
            "device": None,
            "base_url": "https://api.wassenger.com/v1",
            "rate_limit_seconds": 1.0,
            "timeout_seconds": 30,
            "resend_after_seconds": 120,
        },
        "message_2": {"reply_window_hours": 24, "delay_seconds": 2, "overlap": "latest"},
        "webhook": {
            "host": "0.0.0.0",
            "port": 8080,
            "path": "/webhooks/wassenger",
            "secrets": (),
            "signing_secrets": (),
            "require_signature": False,
        },
        "admin": {"host": "127.0.0.1", "port": 8081, "token": SecretStr("")},
        "watch": {
            "device_seconds": 60,
            "webhook_seconds": 300,
            "catch_up_seconds": 300,
            "hold_after_failures": 10,
            "hold_failure_share": 0.8,
        },
        "notifications": {
            "url": "",
            "secret": SecretStr(""),
            "timeout_seconds": 10,
            "disk_low_mib": 256,
            "backup_age_hours": 50,
            "held_seconds": 60,
        },
        "database": {"path": Path("wamsg2.db")},
        "contacts": {"default_country": "", "opt_out_words": ()},
        "retention": {
            "raw_events_days": 7,
            "message_texts_days": 0,
            "interactions_days": 0,
            "finished_campaigns_days": 0,
        },
    }


def test_settings_and_their_sections_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.wassenger.timeout_seconds = 1  # type: ignore[misc] # what the test is about
    with pytest.raises(ValidationError):
        settings.admin = config.Admin()  # type: ignore[misc] # what the test is about


def test_the_stronger_source_wins(tmp_path: Path) -> None:
    overrides: dict[str, object] = {}
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    def token() -> str:
        return load(overrides=overrides, environ=environ).admin.token.get_secret_value()

    assert token() == ""
    write('[admin]\ntoken = "file"')
    assert token() == "file"
    write("credential\n", "admin.token")
    assert token() == "credential"
    environ["WAMSG2_ADMIN__TOKEN"] = "environment"
    assert token() == "environment"
    overrides["admin.token"] = None
    assert token() == "environment"
    overrides["admin.token"] = "flag"
    assert token() == "flag"


def test_the_rate_limit_has_a_second_weaker_variable() -> None:
    write("[wassenger]\nrate_limit_seconds = 3")
    environ = {"WASSENGER_RATE_LIMIT_SECONDS": "2"}
    assert load(environ=environ).wassenger.rate_limit_seconds == 2
    environ["WAMSG2_WASSENGER__RATE_LIMIT_SECONDS"] = "1.5"
    assert load(environ=environ).wassenger.rate_limit_seconds == 1.5


def test_sources_are_merged_key_by_key() -> None:
    write(f'[wassenger]\ndevice = "{DEVICE}"\ntimeout_seconds = 5')
    settings = load(environ={"WAMSG2_WASSENGER__TIMEOUT_SECONDS": "6"}, overrides={"wassenger.api_key": "k"})
    assert (settings.wassenger.device, settings.wassenger.timeout_seconds) == (DEVICE, 6)
    assert settings.wassenger.api_key == SecretStr("k")


def test_files_are_looked_for_in_order(tmp_path: Path) -> None:
    def port(path: Path | None = None, **environ: str) -> int:
        return load(path, environ=environ).webhook.port

    assert port() == 8080
    write("[webhook]\nport = 1", "etc.toml")
    assert port() == 1
    write("[webhook]\nport = 2")
    assert port() == 2
    write("[webhook]\nport = 3", "variable.toml")
    assert port(WAMSG2_CONFIG="variable.toml") == 3
    assert port(WAMSG2_CONFIG="") == 2
    assert port(write("[webhook]\nport = 4", "flag.toml"), WAMSG2_CONFIG=str(tmp_path / "missing.toml")) == 4


def test_variables_of_every_type() -> None:
    settings = load(
        environ={
            "WAMSG2_WEBHOOK__PORT": "0",
            "WAMSG2_WEBHOOK__SECRETS": "a, b",
            "WAMSG2_WEBHOOK__SIGNING_SECRETS": '["c,d"]',
            "WAMSG2_WEBHOOK__REQUIRE_SIGNATURE": "true",
            "WAMSG2_MESSAGE_2__OVERLAP": "all",
            "WAMSG2_MESSAGE_2__REPLY_WINDOW_HOURS": "0.5",
            "WAMSG2_DATABASE__PATH": "/var/lib/wamsg2/wamsg2.db",
            "WAMSG2_CONTACTS__DEFAULT_COUNTRY": "mx",
            "UNRELATED": "x",
        }
    )
    assert settings.webhook.port == 0
    assert revealed(settings.webhook.secrets) == ["a", "b"]
    assert revealed(settings.webhook.signing_secrets) == ["c,d"]
    assert settings.webhook.require_signature
    assert settings.message_2 == config.Message2(reply_window_hours=0.5, overlap="all")
    assert settings.database.path == Path("/var/lib/wamsg2/wamsg2.db")
    assert settings.contacts.default_country == "MX"


def test_an_empty_variable_is_an_empty_list() -> None:
    write('[webhook]\nsecrets = ["a"]')
    assert load(environ={"WAMSG2_WEBHOOK__SECRETS": ""}).webhook.secrets == ()


def test_credentials_are_files_and_lists_have_a_value_per_line(tmp_path: Path) -> None:
    write("key\n", "wassenger.api_key")
    write("a\nb\r\n", "webhook.secrets")
    write("c", "webhook.signing_secrets")
    write("\n", "admin.token")
    write("of somebody else", "other.credential")
    write('[admin]\ntoken = "file"')
    settings = load(environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings.wassenger.api_key == SecretStr("key")
    assert revealed(settings.webhook.secrets) == ["a", "b"]
    assert revealed(settings.webhook.signing_secrets) == ["c"]
    assert settings.admin.token == SecretStr("file"), "an empty credential is none"


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[wassenger]\ndevice = "0123"', "wassenger.device: must be a device id"),
        (f'[wassenger]\ndevice = "{DEVICE}\\n"', "wassenger.device: must be a device id"),
        ('[wassenger]\napi_key = ""', "wassenger.api_key: must not be empty"),
        ('[wassenger]\napi_key = "a b"', "wassenger.api_key: must not contain whitespace"),
        ('[wassenger]\napi_key = "a\\u200b"', "wassenger.api_key: must not contain whitespace"),
        ('[wassenger]\nbase_url = "ftp://x"', "wassenger.base_url: must be an http(s) address"),
        ('[wassenger]\nbase_url = "https://"', "wassenger.base_url: must be an http(s) address"),
        ('[wassenger]\nbase_url = "https://x:99999"', "wassenger.base_url: must be an http(s) address"),
        ('[wassenger]\nbase_url = "https://u:p@x/v1"', "wassenger.base_url: must be an http(s) address"),
        ('[wassenger]\nbase_url = "https://x/v1?a=1"', "wassenger.base_url: must be an http(s) address"),
        (
            "[wassenger]\nrate_limit_seconds = -1",
            "wassenger.rate_limit_seconds: should be greater than or equal to 0",
        ),
        ("[wassenger]\nrate_limit_seconds = inf", "wassenger.rate_limit_seconds: should be a finite number"),
        ("[wassenger]\nrate_limit_seconds = nan", "wassenger.rate_limit_seconds: should be a finite number"),
        ("[wassenger]\nrate_limit_seconds = true", "wassenger.rate_limit_seconds: must be a number"),
        ("[wassenger]\ntimeout_seconds = 0", "wassenger.timeout_seconds: should be greater than 0"),
        ("[wassenger]\nresend_after_seconds = -1", "wassenger.resend_after_seconds: should be greater"),
        ("[message_2]\nreply_window_hours = 0", "message_2.reply_window_hours: should be greater than 0"),
        ("[message_2]\nreply_window_hours = 1e300", "message_2.reply_window_hours: should be less than"),
        ("[message_2]\ndelay_seconds = -0.1", "message_2.delay_seconds: should be greater"),
        ('[message_2]\noverlap = "first"', "message_2.overlap: should be 'latest' or 'all'"),
        ('[webhook]\nhost = ""', "webhook.host: must be a host name"),
        ("[webhook]\nport = 65536", "webhook.port: should be less than or equal to 65535"),
        ("[webhook]\nport = -1", "webhook.port: should be greater than or equal to 0"),
        ("[webhook]\nport = 80.5", "webhook.port: should be a valid integer"),
        ('[webhook]\npath = "webhooks"', "webhook.path: must be the path"),
        ('[webhook]\npath = "/{all}"', "webhook.path: must be the path"),
        ('[webhook]\npath = "/healthz"', "webhook.path: is the path of the health check"),
        ('[webhook]\nsecrets = "a"', "webhook.secrets: should be a list"),
        ('[webhook]\nsecrets = ["a", ""]', "webhook.secrets.1: must not be empty"),
        ("[webhook]\nsecrets = [1]", "webhook.secrets.0: should be a valid string"),
        ("[webhook]\nrequire_signature = true", "webhook.require_signature: needs webhook.signing_secrets"),
        ('[admin]\ntoken = "a\\tb"', "admin.token: must not contain whitespace"),
        ('[notifications]\nurl = "http://example.org/x"', "notifications.url: must be empty or an https address"),
        ('[notifications]\nurl = "https://u:p@example.org"', "notifications.url: must be empty or an https address"),
        ('[notifications]\nurl = "https://example.org/#x"', "notifications.url: must be empty or an https address"),
        ('[notifications]\nurl = "https:///x"', "notifications.url: must be empty or an https address"),
        ('[notifications]\nurl = "https://example.org:0"', "notifications.url: must be empty or an https address"),
        ('[notifications]\nurl = "https://example.org/a b"', "notifications.url: must be empty or an https address"),
        ('[notifications]\nurl = "https://[::1"', "notifications.url: must be empty or an https address"),
        (
            '[notifications]\nsecret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"',
            'notifications.secret: must be "whsec_" and',
        ),
        ('[notifications]\nsecret = "whsec_c2hvcnQ="', 'notifications.secret: must be "whsec_" and'),
        (f'[notifications]\nsecret = "whsec_{"A" * 88}"', 'notifications.secret: must be "whsec_" and'),
        (f'[notifications]\nsecret = "whsec_{"-" * 40}"', 'notifications.secret: must be "whsec_" and'),
        ("[notifications]\ntimeout_seconds = 0", "notifications.timeout_seconds: should be greater than 0"),
        ("[notifications]\ndisk_low_mib = -1", "notifications.disk_low_mib: should be greater than or equal to 0"),
        ("[notifications]\ndisk_low_mib = true", "notifications.disk_low_mib: must be a number"),
        (
            "[notifications]\nbackup_age_hours = -1",
            "notifications.backup_age_hours: should be greater than or equal to 0",
        ),
        ("[notifications]\nheld_seconds = -1", "notifications.held_seconds: should be greater than or equal to 0"),
        ("[watch]\ndevice_seconds = -1", "watch.device_seconds: should be greater than or equal to 0"),
        ("[watch]\nwebhook_seconds = inf", "watch.webhook_seconds: should be a finite number"),
        ("[watch]\ncatch_up_seconds = 3e9", "watch.catch_up_seconds: should be less than"),
        ("[watch]\nhold_after_failures = -1", "watch.hold_after_failures: should be greater than or equal to 0"),
        ("[watch]\nhold_after_failures = 2.5", "watch.hold_after_failures: should be a valid integer"),
        ("[watch]\nhold_after_failures = true", "watch.hold_after_failures: must be a number"),
        ("[watch]\nhold_failure_share = 0", "watch.hold_failure_share: should be greater than or equal to 0.01"),
        ("[watch]\nhold_failure_share = 1.01", "watch.hold_failure_share: should be less than or equal to 1"),
        ("[watch]\ncatchup_seconds = 1", "watch.catchup_seconds: unknown key, did you mean watch.catch_up_seconds?"),
        ('[database]\npath = ""', "database.path: must be the path of a file"),
        ('[database]\npath = "/"', "database.path: must be the path of a file"),
        ('[contacts]\ndefault_country = "XX"', "contacts.default_country: must be empty or a two-letter region"),
        ('[contacts]\nopt_out_words = "basta"', "contacts.opt_out_words: should be a list"),
        ('[contacts]\nopt_out_words = ["basta", ""]', "contacts.opt_out_words.1: must have letters or digits"),
        ('[contacts]\nopt_out_words = ["🛑 !"]', "contacts.opt_out_words.0: must have letters or digits"),
        ('[contacts]\nopt_out_words = ["me@example.org"]', "contacts.opt_out_words.0: must have letters or digits"),
        (
            '[contacts]\nopt_out_words = ["a b c d e f g"]',
            "contacts.opt_out_words.0: must have at most 6 words and 64",
        ),
        (f'[contacts]\nopt_out_words = ["{"x" * 65}"]', "contacts.opt_out_words.0: must have at most 6 words and 64"),
        ("[contacts]\nopt_out_words = [1]", "contacts.opt_out_words.0: should be a valid string"),
        ("[wassenger]\napi_kee = 1", "wassenger.api_kee: unknown key, did you mean wassenger.api_key?"),
        ("[sender]\nx = 1", "sender: unknown key"),
        ("x = 1", "x: unknown key"),
        ("[wasenger]\nx = 1", "wasenger: unknown key, did you mean wassenger?"),
        ('"wassenger.device" = 1', "wassenger.device: unknown key"),
        ("webhook = 8080", "webhook: must be a section, [webhook]"),
        ("[wassenger.api_key]\nx = 1", "wassenger.api_key: should be a valid string"),
    ],
)
def test_a_file_is_refused_with_path_reason_and_origin(text: str, said: str) -> None:
    message = refusal(text)
    assert message.startswith(said)
    assert message.endswith("(file config.toml)")
    assert "\n" not in message


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_an_open_admin_listener_needs_a_token(host: str) -> None:
    assert refusal(f'[admin]\nhost = "{host}"') == (
        "admin.token: is required, because admin.host is not a loopback address (not set)"
    )
    assert load(write(f'[admin]\nhost = "{host}"\ntoken = "t"'), environ={}).admin.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_a_local_admin_listener_needs_none(host: str) -> None:
    assert load(environ={}, overrides={"admin.host": host}).admin.host == host


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://example.org:8443/hook?token=x",
        "http://127.0.0.1:9000/hook",
        "http://[::1]:9000/",
        "http://localhost/",
    ],
)
def test_a_receiver_of_notifications_needs_a_secret(url: str) -> None:
    assert refusal(f'[notifications]\nurl = "{url}"') == (
        "notifications.secret: is required, because notifications.url is set (not set)"
    )
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    told = load(write(f'[notifications]\nurl = "{url}"\nsecret = "{secret}"'), environ={}).notifications
    assert (told.url, told.secret.get_secret_value()) == (url, secret)


@pytest.mark.parametrize("count", [24, 25, 32, 64])
@pytest.mark.parametrize("padded", [True, False])
def test_a_secret_of_notifications_may_go_without_padding(count: int, padded: bool) -> None:  # noqa: FBT001 - a column
    secret = "whsec_" + base64.b64encode(bytes(range(count))).decode()
    secret = secret if padded else secret.rstrip("=")
    assert load(environ={}, overrides={"notifications.secret": secret}).notifications.secret == SecretStr(secret)


def test_every_problem_is_a_line_that_says_where_from(tmp_path: Path) -> None:
    write("a b", "webhook.secrets")
    message = refusal(
        "[webhook]\nport = 70000\nfoo = 1",
        overrides={"database.path": "", "data.base": 1},
        environ={
            "CREDENTIALS_DIRECTORY": str(tmp_path),
            "WAMSG2_ADMIN__PORT": "many",
            "WAMSG2_ADMIN__PROT": "1",
            "WAMSG2_DEBUG": "1",
            "WASSENGER_RATE_LIMIT_SECONDS": "fast",
            "WAMSG2_WEBHOOK__SIGNING_SECRETS": '["a"',
        },
    )
    assert sorted(message.splitlines()) == [
        (
            "admin.port: should be a valid integer, unable to parse string as an integer"
            " (environment variable WAMSG2_ADMIN__PORT)"
        ),
        "admin.prot: unknown key, did you mean admin.port? (environment variable WAMSG2_ADMIN__PROT)",
        "data.base: unknown key, did you mean database.path? (flag)",
        "database.path: must be the path of a file (flag)",
        "debug: unknown key (environment variable WAMSG2_DEBUG)",
        (
            "wassenger.rate_limit_seconds: should be a valid number, unable to parse string as a number"
            " (environment variable WASSENGER_RATE_LIMIT_SECONDS)"
        ),
        "webhook.foo: unknown key, did you mean webhook.port? (file config.toml)",
        "webhook.port: should be less than or equal to 65535 (file config.toml)",
        "webhook.secrets.0: must not contain whitespace or control characters (credential webhook.secrets)",
        (
            "webhook.signing_secrets: must be a JSON array or values with commas between them"
            " (environment variable WAMSG2_WEBHOOK__SIGNING_SECRETS)"
        ),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[webhook]\nport = \n", "is not valid TOML: Invalid value (at line 2, column 8)"),
        (
            b"[webhook]\nport",
            "is not valid TOML: Expected '=' after a key in a key/value pair (at line 2, the end of the file)",
        ),
        (b"[webhook]\npath = '\xff'\n", "is not UTF-8 (at line 2)"),
    ],
)
def test_a_broken_file_is_one_line_with_its_line_number(content: bytes, said: str) -> None:
    Path("broken.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(Path("broken.toml"), environ={})
    assert str(caught.value) == f"broken.toml: {said}"


def test_a_named_file_must_be_there_and_readable(tmp_path: Path) -> None:
    for arguments in ({"config_path": Path("no.toml")}, {"environ": {"WAMSG2_CONFIG": "no.toml"}}):
        with pytest.raises(ConfigError, match=r"^no\.toml: no such configuration file$"):
            load(**{"environ": {}, **arguments})  # type: ignore[arg-type] # two ways to name a file
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory$"):
        load(tmp_path, environ={})


def test_an_unreadable_credential_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wassenger.api_key").mkdir()
    (tmp_path / "admin.token").write_bytes(b"\xff")
    assert refusal(environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}).splitlines() == [
        "wassenger.api_key: cannot be read: Is a directory (credential wassenger.api_key)",
        "admin.token: is not UTF-8 (credential admin.token)",
    ]


@pytest.mark.parametrize("path", config.CREDENTIALS)
def test_no_refusal_shows_a_secret(path: str, tmp_path: Path) -> None:
    section, _, key = path.partition(".")
    variable = f"WAMSG2_{section}__{key}".upper()
    values: list[object] = [f"{SECRET} ", f"{SECRET}\n{SECRET}\t", [f"{SECRET}\0"], {"a": SECRET}, [[SECRET]], 7]
    for value in values:
        assert SECRET not in refusal(overrides={path: value})
    assert SECRET not in refusal(environ={variable: f'["{SECRET} "'})
    assert SECRET not in refusal(environ={variable: f"{SECRET} {SECRET}"})
    assert SECRET not in refusal(environ={f"{variable}X": SECRET})
    assert SECRET not in refusal(f"[{section}]\n{key} = {SECRET}")
    assert SECRET not in refusal(f'[{section}]\n{key} = "{SECRET}')
    assert SECRET not in refusal(f'[{section}]\n{key}x = "{SECRET}"')
    write(f"{SECRET} {SECRET}", path)
    assert SECRET not in refusal(environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_refused_secret_is_not_in_the_traceback_either() -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={"WAMSG2_WASSENGER__API_KEY": f"{SECRET} "})
    assert caught.value.__suppress_context__
    assert SECRET not in str(caught.value.__context__)


def test_repr_hides_secrets() -> None:
    settings = load(
        environ={},
        overrides={
            "wassenger.api_key": SECRET,
            "webhook.secrets": (SECRET,),
            "webhook.signing_secrets": [SECRET],
            "admin.token": SECRET,
        },
    )
    assert revealed(settings.webhook.secrets + settings.webhook.signing_secrets) == [SECRET, SECRET]
    for shown in (repr(settings), str(settings), repr(settings.webhook), settings.model_dump_json()):
        assert SECRET not in shown


# --- secrets in files of their own ------------------------------------------------------------------------------


def test_a_secret_may_stand_in_a_file_and_lists_have_a_value_per_line() -> None:
    write("key\n", "key.txt")
    write("a\r\nb,c\n", "secrets.txt")
    write("[wassenger]\napi_key_file = 'key.txt'\n[webhook]\nsecrets_file = 'secrets.txt'")
    settings = load(
        environ={"WAMSG2_ADMIN__TOKEN_FILE": "key.txt"}, overrides={"webhook.signing_secrets_file": "key.txt"}
    )
    assert settings.wassenger.api_key == SecretStr("key")
    assert revealed(settings.webhook.secrets) == ["a", "b,c"]
    assert revealed(settings.webhook.signing_secrets) == ["key"]
    assert settings.admin.token == SecretStr("key")


@pytest.mark.parametrize("path", config.CREDENTIALS)
def test_every_credential_may(path: str) -> None:
    """The variable is named by hand, as a container's configuration names it."""
    value = "whsec_" + "A" * 32
    write(value, "secret.txt")
    settings = load(environ={f"WAMSG2_{path.replace('.', '__').upper()}_FILE": "secret.txt"})
    section, _, key = path.partition(".")
    secret = getattr(getattr(settings, section), key)
    assert (revealed(secret) if isinstance(secret, tuple) else [secret.get_secret_value()]) == [value]


def test_a_secret_file_is_as_strong_as_the_place_that_names_it(tmp_path: Path) -> None:
    for name in ("toml", "environment", "flag"):
        write(name, f"{name}.txt")
    write("[admin]\ntoken_file = 'toml.txt'")
    environ: dict[str, str] = {}
    overrides: dict[str, object] = {}

    def token() -> str:
        return load(overrides=overrides, environ=environ).admin.token.get_secret_value()

    assert token() == "toml"
    environ["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    write("credential", "admin.token")
    assert token() == "credential"
    environ["WAMSG2_ADMIN__TOKEN_FILE"] = "environment.txt"
    assert token() == "environment"
    overrides["admin.token_file"] = "flag.txt"
    assert token() == "flag"


def test_a_variable_outranks_a_file_that_the_configuration_names() -> None:
    write("file", "token.txt")
    write("[admin]\ntoken_file = 'token.txt'")
    assert load(environ={"WAMSG2_ADMIN__TOKEN": "variable"}).admin.token == SecretStr("variable")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "wassenger.api_key: cannot be read: No such file or directory"),
        (b"", "wassenger.api_key: must not be empty"),
        (b"\n", "wassenger.api_key: must not be empty"),
        (b"k\xff", "wassenger.api_key: is not UTF-8"),
        (b"two\nlines\n", "wassenger.api_key: must not contain whitespace or control characters"),
        (b"\xef\xbb\xbfbom", "wassenger.api_key: must not contain whitespace or control characters"),
    ],
)
def test_a_secret_file_that_cannot_be_used(content: bytes | None, said: str) -> None:
    if content is not None:
        Path("key.txt").write_bytes(content)
    variable = "WAMSG2_WASSENGER__API_KEY_FILE"
    assert (
        refusal(environ={variable: "key.txt"}) == f"{said} (file key.txt, named by environment variable {variable})"
    )


def test_a_blank_line_among_secrets_is_refused_by_its_place() -> None:
    write("a\n\nb\n", "secrets.txt")
    said = refusal("[webhook]\nsecrets_file = 'secrets.txt'")
    assert said == "webhook.secrets.1: must not be empty (file secrets.txt, named by file config.toml)"


def test_serving_requires_a_secret_in_the_file() -> None:
    write("\n", "secrets.txt")
    overrides = {"wassenger.api_key": "k", "wassenger.device": DEVICE, "webhook.secrets_file": "secrets.txt"}
    with pytest.raises(ConfigError, match=r"^webhook\.secrets: is required to serve"):
        load(environ={}, overrides=overrides).require_for_serving()


@pytest.mark.parametrize("value", ['""', "1", '["key.txt"]'])
def test_a_secret_file_is_named_by_a_path(value: str) -> None:
    said = refusal(f"[wassenger]\napi_key_file = {value}")
    assert said == "wassenger.api_key_file: must be the path of a file (file config.toml)"


def test_what_is_no_secret_has_no_file() -> None:
    assert refusal("[webhook]\nport_file = 'port.txt'").startswith("webhook.port_file: unknown key")


@pytest.mark.parametrize("path", config.CREDENTIALS)
def test_no_refusal_shows_what_stands_in_a_secret_file(path: str) -> None:
    for content in (f"{SECRET} {SECRET}", f"{SECRET}\n\t{SECRET}", f"{SECRET}\0"):
        write(content, "secret.txt")
        assert SECRET not in refusal(overrides={f"{path}_file": "secret.txt"})


# --- shapes -----------------------------------------------------------------------------------------------------


def test_values_are_brought_into_one_shape() -> None:
    overrides = {"wassenger.base_url": "http://localhost:8090/v1/", "wassenger.device": DEVICE.upper()}
    settings = load(environ={}, overrides=overrides)
    assert settings.wassenger.base_url == "http://localhost:8090/v1"
    assert settings.wassenger.device == DEVICE


def test_serving_requires_key_device_and_secret() -> None:
    with pytest.raises(ConfigError) as caught:
        Settings().require_for_serving()
    assert [line.split(":")[0] for line in caught.value.problems] == [
        "wassenger.api_key",
        "wassenger.device",
        "webhook.secrets",
    ]
    assert "WAMSG2_WASSENGER__API_KEY" in str(caught.value)
    overrides = {"wassenger.api_key": "k", "wassenger.device": DEVICE, "webhook.secrets": ["s"]}
    load(environ={}, overrides=overrides).require_for_serving()


def test_further_opt_out_words_are_compared_folded() -> None:
    write('[contacts]\nopt_out_words = ["Ne plus écrire", "BASTA", "basta!"]')
    settings = load(environ={})
    assert settings.contacts.opt_out_words == ("Ne plus écrire", "BASTA", "basta!")
    assert settings.policy().opt_out_words == ("basta", "ne plus ecrire")
    hash(settings.policy())
    in_environment = load(environ={"WAMSG2_CONTACTS__OPT_OUT_WORDS": "basta, y a"})
    assert in_environment.contacts.opt_out_words == ("basta", "y a")


# --- config.example.toml ----------------------------------------------------------------------------------------


def test_the_example_as_it_is_changes_nothing() -> None:
    assert load(EXAMPLE, environ={}) == Settings()


def test_the_example_uncommented_shows_every_key_with_its_default() -> None:
    text = re.sub(r"(?m)^#(?=[a-z])", "", EXAMPLE.read_text())
    shown = tomllib.loads(text)
    expected = {section: set(type(values).model_fields) for section, values in Settings()}
    assert {section: set(values) for section, values in shown.items()} == expected

    settings = load(write(text), environ={})
    for section, defaults in Settings():
        for key, default in defaults:
            # Two keys have no default: the example shows a value of the right shape.
            if default is not None:
                assert getattr(getattr(settings, section), key) == default, f"{section}.{key}"
    assert settings.wassenger.device
    assert settings.wassenger.api_key
