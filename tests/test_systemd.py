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
names = pytest.mark.parametrize("name", ["wamsg2.service", "wamsg2@.service"])


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
    unit = tmp_path / name.replace("@", "@spring")
    program = shutil.which("true")
    unit.write_text(re.sub("(?m)^ExecStart=[^ ]+", f"ExecStart={program}", (UNITS / name).read_text()))
    return unit


@needs_systemd
@names
def test_systemd_accepts_the_unit(copy: Path) -> None:
    result = analyze("verify", "--man=no", copy)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@needs_systemd
@names
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


@names
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
    state = "%S/" + next(line for line in options(name) if line.startswith("StateDirectory=")).partition("=")[2]
    assert settings.database.path == Path(state) / "wamsg2.db"
    assert settings.webhook.secrets == ()


def test_the_template_differs_in_its_instance_only() -> None:
    template = [
        line.replace(" (%i)", "").replace("/%i.toml", "/config.toml").replace("/%i", "")
        for line in options("wamsg2@.service")
    ]
    assert template == options("wamsg2.service")


@names
def test_the_stop_waits_for_a_request_in_flight(name: str) -> None:
    (seconds,) = (line for line in options(name) if line.startswith("TimeoutStopSec="))
    assert int(seconds.partition("=")[2]) > config.Settings().wassenger.timeout_seconds
