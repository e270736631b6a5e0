"""Settings: every key, its default, its rule, and where its value may come from.

Each source is read into values that remember where they stood, the strongest source of each key wins, and
pydantic judges the result. Everything wrong is said at once, one line per problem, never with a secret's value.
"""

import base64
import codecs
import difflib
import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import phonenumbers
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from wamsg2 import consent_words
from wamsg2.model import Overlap, Policy

ENVIRONMENT_PREFIX: Final = "WAMSG2_"
CONFIG_VARIABLE: Final = "WAMSG2_CONFIG"
#: Where a file is looked for when none is named.
DEFAULT_FILES: Final = (Path("config.toml"), Path("/etc/wamsg2/config.toml"))
#: The keys read from systemd credentials; the file in ``$CREDENTIALS_DIRECTORY`` has the key's name.
CREDENTIALS: Final = (
    "wassenger.api_key",
    "webhook.secrets",
    "webhook.signing_secrets",
    "admin.token",
    "notifications.secret",
)

# Other names of a variable; ours is stronger.
_ALIASES: Final = {"WASSENGER_RATE_LIMIT_SECONDS": "wassenger.rate_limit_seconds"}
_LISTS: Final = frozenset({"webhook.secrets", "webhook.signing_secrets", "contacts.opt_out_words"})
# Longer than anything sensible, short enough that no date overflows: it catches milliseconds given as seconds.
_MONTH_SECONDS: Final = 31 * 24 * 3600
_MONTH_HOURS: Final = 31 * 24


class ConfigError(Exception):
    """The configuration is refused. The message has a line per problem: dotted path, what is wrong, where from."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


# --- the rules of single values ---------------------------------------------------------------------------------


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic collects ValueError only
    return value


def _secret(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if not secret:
        raise ValueError("must not be empty")
    # Blanks and invisible characters are what a careless paste leaves behind, and no header can carry them.
    if " " in secret or not secret.isprintable():
        raise ValueError("must not contain whitespace or control characters")
    return value


def _device(value: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{24}", value):
        raise ValueError("must be a device id: 24 hexadecimal digits")
    return value.lower()


def _base_url(value: str) -> str:
    try:
        url = urlsplit(value)
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s?#@]", value):
        raise ValueError("must be an http(s) address without user, query and fragment")
    return value.rstrip("/")


def _host(value: str) -> str:
    if not value or re.search(r"[\s/]", value):
        raise ValueError("must be a host name or an IP address")
    return value


def _webhook_path(value: str) -> str:
    if not re.fullmatch(r"/[\w.~!$&'()*+,;=:@/-]*", value, re.ASCII):
        raise ValueError('must be the path of an address, starting with "/"')
    if value == "/healthz":
        raise ValueError("is the path of the health check")
    return value


def _database_path(value: Path) -> Path:
    if not value.name:
        raise ValueError("must be the path of a file")
    return value


def _region(value: str) -> str:
    region = value.upper()
    if region and region not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError('must be empty or a two-letter region like "MX"')
    return region


def _opt_out_word(value: str) -> str:
    tokens = consent_words.fold(value).split()
    if not tokens:
        raise ValueError("must have letters or digits")
    if len(tokens) > consent_words.SUSPECTED_WORDS or len(value) > consent_words.WORD_CHARACTERS:
        raise ValueError(
            f"must have at most {consent_words.SUSPECTED_WORDS} words and {consent_words.WORD_CHARACTERS} characters"
        )
    return value


def _receiver_url(value: str) -> str:
    try:
        url = urlsplit(value)
        usable = url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.hostname or ""))
        usable = usable and bool(url.hostname) and url.port != 0 and "@" not in url.netloc
    except ValueError:
        usable = False
    if value and (not usable or "#" in value or " " in value or not value.isprintable()):
        raise ValueError("must be empty or an https address (http on this machine) without user and fragment")
    return value


def _webhook_key(value: SecretStr) -> SecretStr:
    encoded = value.get_secret_value().removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if not value.get_secret_value().startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError('must be "whsec_" and the base64 of 24 to 64 random bytes')
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_Number = Annotated[float, BeforeValidator(_not_bool), Field(allow_inf_nan=False)]
_Seconds = Annotated[_Number, Field(ge=0, le=_MONTH_SECONDS)]
_Port = Annotated[int, BeforeValidator(_not_bool), Field(ge=0, le=65535)]
_Days = Annotated[int, BeforeValidator(_not_bool), Field(ge=0, le=36_500)]
_Host = Annotated[str, AfterValidator(_host)]
_Secret = Annotated[SecretStr, AfterValidator(_secret)]


# --- the sections -----------------------------------------------------------------------------------------------


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


class Wassenger(_Section):
    """The account that sends."""

    api_key: _Secret | None = None
    device: Annotated[str, AfterValidator(_device)] | None = None
    base_url: Annotated[str, AfterValidator(_base_url)] = "https://api.wassenger.com/v1"
    #: Seconds between the starts of two sends.
    rate_limit_seconds: _Seconds = 1.0
    #: Seconds for one request.
    timeout_seconds: Annotated[_Number, Field(gt=0, le=_MONTH_SECONDS)] = 30.0
    #: Seconds over which look-ups must agree before an uncertain message is sent again; 0: never.
    resend_after_seconds: _Seconds = 120.0


class Message2(_Section):
    """The answer to a reply."""

    #: Hours after Message 1 in which a reply counts.
    reply_window_hours: Annotated[_Number, Field(gt=0, le=_MONTH_HOURS)] = 24.0
    delay_seconds: _Seconds = 2.0
    #: Whether a reply answers the latest open campaign of a contact, or all.
    overlap: Literal["latest", "all"] = "latest"


class Webhook(_Section):
    """The public listener."""

    host: _Host = "0.0.0.0"  # noqa: S104 - the one listener that must be reached from outside
    port: _Port = 8080
    path: Annotated[str, AfterValidator(_webhook_path)] = "/webhooks/wassenger"
    #: Any of them lets an event in.
    secrets: tuple[_Secret, ...] = ()
    signing_secrets: tuple[_Secret, ...] = ()
    require_signature: bool = False

    @field_validator("require_signature")
    @classmethod
    def _can_be_checked(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's signature
        if value and info.data.get("signing_secrets") == ():
            raise ValueError("needs webhook.signing_secrets to check signatures with")
        return value


class Admin(_Section):
    """The local listener: status, dashboard, metrics, API."""

    host: _Host = "127.0.0.1"
    port: _Port = 8081
    #: Empty: no token is asked for.
    token: SecretStr = SecretStr("")

    @field_validator("token")
    @classmethod
    def _guards_the_network(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if value.get_secret_value():
            return _secret(value)
        if "host" in info.data and not _is_loopback(info.data["host"]):
            raise ValueError("is required, because admin.host is not a loopback address")
        return value


class Watch(_Section):
    """What the daemon keeps an eye on."""

    #: Seconds between two looks at the device; 0: never.
    device_seconds: _Seconds = 60.0
    #: Seconds between two looks at the webhook; 0: never.
    webhook_seconds: _Seconds = 300.0
    #: Seconds between two questions for lost webhooks; 0: only at the start and on request.
    catch_up_seconds: _Seconds = 300.0
    #: So many failures hold the queue; 0: never.
    hold_after_failures: Annotated[int, BeforeValidator(_not_bool), Field(ge=0, le=10_000)] = 10
    #: If they are such a share of the last sends.
    hold_failure_share: Annotated[_Number, Field(ge=0.01, le=1)] = 0.8


class Notifications(_Section):
    """What an operator is told, and where."""

    #: Of the receiver; empty: nothing is posted.
    url: Annotated[str, AfterValidator(_receiver_url)] = ""
    #: Signs what is posted.
    secret: SecretStr = SecretStr("")
    #: Seconds for one request.
    timeout_seconds: Annotated[_Number, Field(gt=0, le=30)] = 10.0
    #: Less free space is told; 0: never.
    disk_low_mib: Annotated[int, BeforeValidator(_not_bool), Field(ge=0, le=1024**3)] = 256
    #: A last good backup that is older is told; 0: never.
    backup_age_hours: Annotated[_Number, Field(ge=0, le=24 * 365)] = 50.0
    #: A hold, or its end, is told after so long.
    held_seconds: _Seconds = 60.0

    @field_validator("secret")
    @classmethod
    def _can_be_signed(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if value.get_secret_value():
            return _webhook_key(value)
        if info.data.get("url"):
            raise ValueError("is required, because notifications.url is set")
        return value


class Database(_Section):
    """The one file of everything."""

    path: Annotated[Path, AfterValidator(_database_path)] = Path("wamsg2.db")


class Contacts(_Section):
    """How people's numbers and words are read."""

    #: Region of numbers without a plus; empty: a plus is required.
    default_country: Annotated[str, AfterValidator(_region)] = ""
    #: Further words that opt out.
    opt_out_words: tuple[Annotated[str, AfterValidator(_opt_out_word)], ...] = ()


class Retention(_Section):
    """For how many days what is kept; 0: for ever."""

    #: At least as long as lost webhooks are asked for.
    raw_events_days: Annotated[_Days, Field(ge=7)] = 7
    message_texts_days: _Days = 0
    interactions_days: _Days = 0
    finished_campaigns_days: _Days = 0


class Settings(BaseSettings):
    """All settings. `Settings()` holds the defaults; `load` reads what the user set."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    wassenger: Wassenger = Wassenger()
    message_2: Message2 = Message2()
    webhook: Webhook = Webhook()
    admin: Admin = Admin()
    watch: Watch = Watch()
    notifications: Notifications = Notifications()
    database: Database = Database()
    contacts: Contacts = Contacts()
    retention: Retention = Retention()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the base class's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands over: it alone knows, and can say, where each value came from."""
        return (init_settings,)

    def policy(self) -> Policy:
        """The configurable part of the rules."""
        return Policy(
            window=timedelta(hours=self.message_2.reply_window_hours),
            delay=timedelta(seconds=self.message_2.delay_seconds),
            overlap=Overlap(self.message_2.overlap),
            resend_after=timedelta(seconds=self.wassenger.resend_after_seconds),
            opt_out_words=tuple(sorted({consent_words.fold(word) for word in self.contacts.opt_out_words})),
        )

    def require_for_serving(self) -> None:
        """Check for what only a daemon needs; every other command works without.

        Raises:
            ConfigError: naming each missing key, and how to set it.
        """
        required = {
            "wassenger.api_key": self.wassenger.api_key,
            "wassenger.device": self.wassenger.device,
            "webhook.secrets": self.webhook.secrets,
        }
        missing = [path for path, value in required.items() if not value]
        if missing:
            raise ConfigError(
                f"{path}: is required to serve (set it in the file or as {_variable(path)})" for path in missing
            )


_KEYS: Final = tuple(
    f"{section}.{key}" for section, field in Settings.model_fields.items() for key in type(field.default).model_fields
)


def _variable(path: str) -> str:
    return ENVIRONMENT_PREFIX + path.replace(".", "__").upper()


# --- the sources ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """A value, the key it is for, and where it stood, in the user's words."""

    path: str
    value: Any
    origin: str


def load(
    config_path: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Read the settings: flag, environment, systemd credential, file, default; the first that has a key wins.

    Args:
        config_path: the file named by ``--config``; None: ``$WAMSG2_CONFIG``, else the first of `DEFAULT_FILES`.
        overrides: values of flags by dotted key (``{"webhook.port": 0}``); None stands for a flag not given.
        environ: the environment.

    Raises:
        ConfigError: with every problem found.
    """
    problems: list[str] = []
    # Weakest first: what comes later replaces what came before.
    found = [
        *_from_file(config_path, environ, problems),
        *_from_credentials(environ, problems),
        *_from_environment(environ, problems),
        *(_Found(path, value, "flag") for path, value in (overrides or {}).items() if value is not None),
    ]
    found = [read for each in found if (read := _from_secret_file(each, problems))]
    problems += [_unknown(each.path, _KEYS, each.origin) for each in found if each.path not in _KEYS]
    known = {each.path: each for each in found if each.path in _KEYS}

    sections: dict[str, Any] = {}
    for path, each in known.items():
        section, _, key = path.partition(".")
        sections.setdefault(section, {})[key] = each.value
    try:
        settings = Settings(**sections)
    except ValidationError as error:
        problems += [
            _refusal(".".join(map(str, each["loc"])), each["msg"], known)
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        # Not chained: the pydantic error holds the values.
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    return settings


def _unknown(name: str, known: Iterable[str], origin: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f", did you mean {near[0]}?" if near else ""
    return f"{name}: unknown key{hint} ({origin})"


def _refusal(path: str, message: str, known: Mapping[str, _Found]) -> str:
    key = ".".join(path.split(".")[:2])
    origin = known[key].origin if key in known else "not set"
    reason = message.removeprefix("Value error, ").removeprefix("Input ")
    return f"{path}: {reason.replace('a valid tuple', 'a list')} ({origin})"


def _from_file(named: Path | None, environ: Mapping[str, str], problems: list[str]) -> Iterator[_Found]:
    if named is None and environ.get(CONFIG_VARIABLE):
        named = Path(environ[CONFIG_VARIABLE])
    for path in DEFAULT_FILES if named is None else (named,):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            if named is not None:
                problems.append(f"{path}: no such configuration file")
            continue
        except OSError as error:
            problems.append(f"{path}: cannot be read: {error.strerror}")
            return
        yield from _from_toml(path, content, problems)
        return


def _from_toml(file: Path, content: bytes, problems: list[str]) -> Iterator[_Found]:
    try:
        document = tomllib.loads(content.removeprefix(codecs.BOM_UTF8).decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems.append(f"{file}: is not UTF-8 (at line {line})")
        return
    except tomllib.TOMLDecodeError as error:
        lines = content.count(b"\n") + 1
        reason = str(error).replace("at end of document", f"at line {lines}, the end of the file")
        problems.append(f"{file}: is not valid TOML: {reason}")
        return
    origin = f"file {file}"
    for section, table in document.items():
        if section not in Settings.model_fields:
            problems.append(_unknown(section, Settings.model_fields, origin))
        elif not isinstance(table, dict):
            problems.append(f"{section}: must be a section, [{section}] ({origin})")
        else:
            for key, value in table.items():
                yield _Found(f"{section}.{key}", value, origin)


def _from_credentials(environ: Mapping[str, str], problems: list[str]) -> Iterator[_Found]:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return
    for path in CREDENTIALS:
        origin = f"credential {path}"
        file = Path(directory) / path
        # An empty one is systemd's way to say "there is none": the fallback that the unit sets.
        if file.exists() and (value := _secret_in(file, path, origin, problems)):
            yield _Found(path, value, origin)


def _from_secret_file(each: _Found, problems: list[str]) -> _Found | None:
    """Where ``wassenger.api_key_file`` (or another secret's) names a file, the secret in it; None if it has none."""
    path = each.path.removesuffix("_file")
    if path == each.path or path not in CREDENTIALS:
        return each
    if not isinstance(each.value, str) or not each.value:
        problems.append(f"{each.path}: must be the path of a file ({each.origin})")
        return None
    origin = f"file {each.value}, named by {each.origin}"
    value = _secret_in(Path(each.value), path, origin, problems)
    return None if value is None else _Found(path, value, origin)


def _secret_in(file: Path, path: str, origin: str, problems: list[str]) -> str | list[str] | None:
    """The secret in a file, or a list's, one a line; None where it cannot be read."""
    try:
        content = file.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror} ({origin})")
        return None
    except UnicodeDecodeError:
        problems.append(f"{path}: is not UTF-8 ({origin})")
        return None
    return content.splitlines() if path in _LISTS else content


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> Iterator[_Found]:
    ours = {name for name in environ if name.startswith(ENVIRONMENT_PREFIX) and name != CONFIG_VARIABLE}
    paths = _ALIASES | {_variable(path): path for path in _KEYS}
    # Aliases stand first in `paths`, so they are weaker.
    for name, path in paths.items():
        if name not in environ:
            continue
        value: object = environ[name]
        origin = f"environment variable {name}"
        if path in _LISTS:
            try:
                value = _list(environ[name])
            except ValueError:
                problems.append(f"{path}: must be a JSON array or values with commas between them ({origin})")
                continue
        yield _Found(path, value, origin)
    for name in sorted(ours - paths.keys()):
        path = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".", 1)
        yield _Found(path, environ[name], f"environment variable {name}")


def _list(text: str) -> list[Any]:
    text = text.strip()
    if text.startswith("["):
        values: list[Any] = json.loads(text)
        return values
    return [value.strip() for value in text.split(",")] if text else []
