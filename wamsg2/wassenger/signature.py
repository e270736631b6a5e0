"""Whether a webhook request is from somebody who knows our secrets. Several may be live at once, for rotation."""

import hmac
from collections.abc import Sequence

SIGNATURE_HEADER = "X-Wassenger-Signature"
SECRET_HEADER = "X-Webhook-Secret"  # noqa: S105 - the header's name
SECRET_QUERY_KEY = "secret"  # noqa: S105 - the key's name
_PREFIX = "sha256="


def secret_matches(given: str, secrets: Sequence[str]) -> bool:
    """Whether `given` is one of the live secrets; takes as long whichever it is."""
    raw = given.encode("utf-8", "surrogateescape")
    # A list, not a generator: every secret is compared, so the time does not tell which one matched.
    return any([hmac.compare_digest(raw, secret.encode()) for secret in secrets])  # noqa: C419 - see above


def sign(body: bytes, secret: str) -> str:
    """The header's value for a body: ``sha256=<hex of HMAC-SHA256>`` (vendor's skills repository, 2026)."""
    return _PREFIX + hmac.digest(secret.encode(), body, "sha256").hex()


def signature_matches(body: bytes, given: str, secrets: Sequence[str]) -> bool:
    """Whether the header's value is the body's signature under one of the live secrets.

    Hex in any case, with ``sha256=`` or without.
    """
    raw = (_PREFIX + given.strip().lower().removeprefix(_PREFIX)).encode("utf-8", "surrogateescape")
    return any([hmac.compare_digest(raw, sign(body, secret).encode()) for secret in secrets])  # noqa: C419 - see above
