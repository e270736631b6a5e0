"""What a neighbour on the machine sees of a running daemon and of its files: no secret, no contact."""

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.site import ROOT, Site, site
from wamsg2.sandbox.server import Sandbox

SIGNING, TOKEN = "signing-secret-f00", "admin-token-f00"


@pytest.fixture(autouse=True)
def _careless_umask() -> Iterator[None]:
    """Whoever starts a command may have any."""
    before = os.umask(0)
    yield
    os.umask(before)


@asynccontextmanager
async def _site_with_secrets_in_files(directory: Path, sandbox: Sandbox) -> AsyncIterator[Site]:
    """As a container has them; the strangers' webhook secret and the API key move there too."""
    async with site(directory, sandbox) as made:
        text = made.config.read_text(encoding="utf-8")
        for key, plain, secret in (
            ("wassenger.api_key", f'"{sandbox.settings.api_key}"', sandbox.settings.api_key),
            ("webhook.secrets", '["s3cret"]', "s3cret"),
            ("webhook.signing_secrets", None, SIGNING),
            ("admin.token", None, TOKEN),
        ):
            file = directory / f"{key}.txt"
            file.write_text(f"{secret}\n", encoding="utf-8")
            file.chmod(0o600)
            named = f'{key}_file = "{file}"'
            assert plain is None or f"{key} = {plain}" in text
            text = text.replace(f"{key} = {plain}", named) if plain else f"{text}\n{named}"
        made.config.write_text(text, encoding="utf-8")
        made.config.chmod(0o600)
        yield made


def _what_ps_shows(pid: int) -> list[bytes]:
    return [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]


async def test_no_secret_can_be_read_off_the_process(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, _site_with_secrets_in_files(tmp_path, sandbox) as made:
        daemon = await made.start()
        secrets = [sandbox.settings.api_key, "s3cret", SIGNING, TOKEN]
        shown = _what_ps_shows(daemon.pid)
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
            for n in range(3):
                async with session.post(made.webhook_url, json={"event": "x", "n": n, "secret": SIGNING}) as response:
                    assert response.status == 200
            async with session.post(f"{made.webhook_url}x") as response:  # nearly right: the log must not help
                assert response.status == 401
            for path in ("/status", "/metrics", "/", "/api/campaigns"):
                async with session.get(f"{made.admin_url}{path}") as response:
                    assert response.status == 200
                    shown.append(await response.read())
        assert await made.stop(daemon) == 0
        shown.append((tmp_path / "daemon.log").read_bytes())
        assert b"webhook.refused" in shown[-1]
        assert [secret for secret in secrets for text in shown if secret.encode() in text] == []


async def _command(made: Site, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *("-m", "wamsg2", "--config", str(made.config), *arguments), cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert await process.wait() == 0, arguments


def _open_to_others(directory: Path, but: set[Path]) -> dict[str, str]:
    """The files that somebody else could read, with their modes."""
    modes = {path.name: path.stat().st_mode for path in directory.iterdir() if path not in but}
    return {name: stat.filemode(mode) for name, mode in modes.items() if mode & 0o077}


async def test_every_file_is_for_its_owner_only(tmp_path: Path) -> None:
    contacts, export = tmp_path / "contacts.csv", tmp_path / "export.csv"
    contacts.write_text("phone\n+34600000001\n", encoding="utf-8")
    async with Sandbox() as sandbox, site(tmp_path, sandbox, wassenger__rate_limit_seconds="1") as made:
        ours = {contacts, made.config, tmp_path / "daemon.log"}  # made by the test
        await _command(made, "campaign", "create", "spring", "--message-1", "Hello")
        assert _open_to_others(tmp_path, ours) == {}
        daemon = await made.start()
        await _command(made, "campaign", "import", "spring", str(contacts))
        await _command(made, "campaign", "export", "spring", str(export))
        await _command(made, "backup", str(tmp_path / "backup.db"))
        for name in ("wamsg2.db", "wamsg2.db-wal", "wamsg2.db-shm", "wamsg2.db.lock", "export.csv", "backup.db"):
            assert (tmp_path / name).exists(), name
        assert _open_to_others(tmp_path, ours) == {}
        assert await made.stop(daemon) == 0
        assert _open_to_others(tmp_path, ours) == {}
