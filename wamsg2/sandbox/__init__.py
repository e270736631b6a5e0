"""A stand-in for the Wassenger API on loopback: it knows the wire and nothing else of this package.

Read bottom-up: ``dice`` and ``faults`` (chance), ``contacts`` (simulated people), ``settings``, ``state`` (what
was accepted), ``wire`` and ``validation`` (JSON out and in), ``webhooks`` and ``courier`` (what happens after an
acceptance), ``posting``, ``api`` and ``control`` (HTTP), ``server`` (all of it together), ``command``.

``Sandbox`` itself is imported from ``wamsg2.sandbox.server``, so that these values load without aiohttp.
"""

from wamsg2.sandbox.contacts import SILENT, Behaviour, Habits, Reply, Script
from wamsg2.sandbox.faults import Faults
from wamsg2.sandbox.settings import Delays, SandboxSettings, WebhookRules

__all__ = [
    "SILENT",
    "Behaviour",
    "Delays",
    "Faults",
    "Habits",
    "Reply",
    "SandboxSettings",
    "Script",
    "WebhookRules",
]
