"""The units: accepted by systemd, hardened, and in step with the settings and with each other."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from wamsg2 import config

UNITS = Path(__file__).parents[1] / "systemd"
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(
    ANALYZE is None, reason="systemd-analyze is not installed, and only it can judge a unit"
)
DAEMONS, BACKUPS = ["wamsg2.service", "wamsg2@.service"], ["wamsg2-backup.service", "wamsg2-backup@.service"]
TIMERS = ["wamsg2-backup.timer", "wamsg2-backup@.timer"]
names = pytest.mark.parametrize("name", DAEMONS)
services = pytest.mark.parametrize("name", [*DAEMONS, *BACKUPS])
every_unit = pytest.mark.parametrize("name", [*DAEMONS, *BACKUPS, *TIMERS])


def options(name: str) -> list[str]:
    return [line for line in (UNITS / name).read_text().splitlines() if line and not line.startswith("#")]


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run(
        [ANALYZE, "--no-pager", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def copy(name: str, tmp_path: Path) -> Path:
    """The unit as an instance of which the program exists, wherever the tests run."""
    program = shutil.which("true")
    for needed in {name, name.replace(".timer", ".service")}:
        text = re.sub("(?m)^ExecStart=[^ ]+", f"ExecStart={program}", (UNITS / needed).read_text())
        (tmp_path / needed.replace("@", "@spring")).write_text(text)
    return tmp_path / name.replace("@", "@spring")


@needs_systemd
@every_unit
def test_systemd_accepts_the_unit(copy: Path) -> None:
    result = analyze("verify", "--man=no", copy)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@needs_systemd
@services
def test_exposure_is_low(copy: Path) -> None:
    result = analyze("security", "--offline=true", "--threshold=15", copy)
    exposure = re.search(r"exposure level for \S+ (\d+\.\d)", result.stdout)
    assert exposure is not None, result.stderr
    assert float(exposure[1]) <= 1.5
    assert result.returncode == 0


@names
def test_every_secret_is_loaded_and_optional(name: str) -> None:
    directory = "/etc/wamsg2/credentials" + ("/%i" if "@" in name else "")
    for key in config.CREDENTIALS:
        assert f"LoadCredential={key}:{directory}/{key}" in options(name)
        assert rf"SetCredential={key}:\n" in options(name)


@services
def test_what_the_unit_sets_is_understood(name: str, tmp_path: Path) -> None:
    variables = dict(
        line.removeprefix("Environment=").split("=", 1) for line in options(name) if line.startswith("Environment=")
    )
    # What SetCredential= leaves where there is no file.
    for key in config.CREDENTIALS:
        (tmp_path / key).write_text("\n")
    file = tmp_path / "config.toml"
    file.touch()
    settings = config.load(file, environ=variables | {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    directories = next(line for line in options(name) if line.startswith("StateDirectory=")).partition("=")[2]
    state = "%S/" + directories.split()[0]
    assert settings.database.path == Path(state) / "wamsg2.db"
    assert settings.webhook.secrets == ()


@pytest.mark.parametrize("name", [DAEMONS[1], BACKUPS[1], TIMERS[1]])
def test_the_template_differs_in_its_instance_only(name: str) -> None:
    template = [
        line.replace(" (%i)", "").replace("/%i.toml", "/config.toml").replace("/%i", "") for line in options(name)
    ]
    assert template == options(name.replace("@", ""))


def hardening(name: str) -> list[str]:
    lines = options(name)
    return lines[lines.index("CapabilityBoundingSet=") :]


def test_a_backup_is_hardened_as_the_daemon_is() -> None:
    """And needs no network."""
    daemon = [line for line in hardening("wamsg2.service") if not line.startswith(("[", "WantedBy="))]
    backup = hardening("wamsg2-backup.service")
    assert [line for line in daemon if line not in backup] == ["RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX"]
    assert [line for line in backup if line not in daemon] == [
        "PrivateNetwork=yes",
        "IPAddressDeny=any",
        "RestrictAddressFamilies=AF_UNIX",
    ]


@pytest.mark.parametrize("name", BACKUPS)
def test_a_backup_goes_where_the_unit_may_write(name: str) -> None:
    (command,) = (line for line in options(name) if line.startswith("ExecStart="))
    (directories,) = (line for line in options(name) if line.startswith("StateDirectory="))
    assert f" backup %S/{directories.split()[-1]} " in command


def test_a_backup_a_day_also_after_a_night_that_was_off() -> None:
    timer = options("wamsg2-backup.timer")
    assert {"OnCalendar=daily", "Persistent=true", "WantedBy=timers.target"} <= set(timer)
    assert any(line.startswith("RandomizedDelaySec=") for line in timer)


def test_litestream_replicates_the_database_of_the_unit() -> None:
    (path,) = (
        line.partition("path: ")[2]
        for line in (UNITS / "litestream.yml").read_text().splitlines()
        if "- path:" in line
    )
    (variable,) = (line for line in options("wamsg2.service") if line.startswith("Environment="))
    assert variable.endswith(path.replace("/var/lib", "%S"))


@names
def test_the_stop_waits_for_a_request_in_flight(name: str) -> None:
    (seconds,) = (line for line in options(name) if line.startswith("TimeoutStopSec="))
    assert int(seconds.partition("=")[2]) > config.Settings().wassenger.timeout_seconds
