"""Who may talk to the webhook: secrets and signatures, and each way of being wrong."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wamsg2.wassenger.signature import secret_matches, sign, signature_matches

law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

BODY = b'{"event":"message:in:new"}'
OLD, NEW = "s3cret-of-spring", "s3cret-of-autumn"
#: HMAC-SHA256 of `BODY` under `NEW`, made with another program.
KNOWN = "sha256=3b9d8247945fdc267914cedf8843d1b7323c324830be153ce645ad3208cbdadc"


# --- the shared secret ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_secret", "secrets", "matches"),
    [
        (NEW, [NEW], True),
        (NEW, [OLD, NEW], True),
        (OLD, [OLD, NEW], True),
        ("pässwörd-é", ["pässwörd-é"], True),
        ("wrong", [NEW], False),
        ("", [NEW], False),
        (NEW, [], False),
        ("", [], False),
        (NEW + "x", [NEW], False),
        (NEW[:-1], [NEW], False),
        (NEW.upper(), [NEW], False),
        (f" {NEW}", [NEW], False),
        (f"{NEW}\x00", [NEW], False),
        ("pässwörd", ["password"], False),
        ("\udcff\udcfe", [NEW], False),  # bytes of a header that are not UTF-8
        ("🔑", [NEW], False),
    ],
)
def test_secret_matches(given_secret: str, secrets: list[str], matches: bool) -> None:  # noqa: FBT001 - a column
    assert secret_matches(given_secret, secrets) is matches


# --- the signature ----------------------------------------------------------------------------------------------


def test_sign_is_hmac_sha256_in_hex() -> None:
    assert sign(BODY, NEW) == KNOWN


@pytest.mark.parametrize("secrets", [[NEW], [OLD, NEW], [NEW, OLD]])
@pytest.mark.parametrize("header", [KNOWN, KNOWN.upper(), KNOWN.replace("sha256=", "SHA256="), f"  {KNOWN}\t"])
def test_a_right_signature(header: str, secrets: list[str]) -> None:
    assert signature_matches(BODY, header, secrets)


@pytest.mark.parametrize(
    ("body", "header", "secrets"),
    [
        pytest.param(BODY, "", [NEW], id="empty"),
        pytest.param(BODY, " ", [NEW], id="blank"),
        pytest.param(BODY, "sha256=", [NEW], id="only the prefix"),
        pytest.param(BODY, KNOWN.replace("sha256=", "sha1="), [NEW], id="another prefix"),
        pytest.param(BODY, KNOWN.replace("sha256=", "sha256:"), [NEW], id="another separator"),
        pytest.param(BODY, "sha256=" + KNOWN, [NEW], id="the prefix twice"),
        pytest.param(BODY, KNOWN[:-1], [NEW], id="cut off"),
        pytest.param(BODY, KNOWN + "0", [NEW], id="too long"),
        pytest.param(BODY, f"{KNOWN}, {KNOWN}", [NEW], id="a list"),
        pytest.param(BODY, KNOWN, [OLD], id="another secret"),
        pytest.param(BODY, KNOWN, [], id="no live secret"),
        pytest.param(BODY, sign(BODY, ""), [NEW], id="signed with nothing"),
        pytest.param(BODY + b"\n", KNOWN, [NEW], id="another body"),
        pytest.param(b"", KNOWN, [NEW], id="no body"),
        pytest.param(BODY, "sha256=é" + KNOWN[8:], [NEW], id="not ASCII"),
        pytest.param(BODY, "sha256=\udcff" + KNOWN[8:], [NEW], id="not UTF-8"),
        pytest.param(BODY, "\u017f" + KNOWN[1:], [NEW], id="a letter that upper-cases to S"),
    ],
)
def test_a_wrong_signature(body: bytes, header: str, secrets: list[str]) -> None:
    assert not signature_matches(body, header, secrets)


@law
@given(st.binary(), st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.just(NEW), max_size=2))
def test_what_is_signed_matches_while_its_secret_lives(body: bytes, secret: str, others: list[str]) -> None:
    assert signature_matches(body, sign(body, secret), [*others, secret])
    assert signature_matches(body, sign(body, secret), others) is (secret in others)


#: Header bytes as aiohttp decodes them: what is not UTF-8 comes as lone low surrogates.
headers = st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@law
@given(headers)
def test_nothing_that_a_header_can_hold_raises(header: str) -> None:
    assert not signature_matches(BODY, header, [OLD, NEW])
    assert not secret_matches(header, [OLD, NEW])
