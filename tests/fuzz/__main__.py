"""Coverage-guided fuzzing, by hand: needs the extra `fuzz` (atheris, on Linux).

    python -m tests.fuzz TARGET DIRECTORY -runs=100000    hunt from the kept corpus on; finds go into DIRECTORY
    python -m tests.fuzz TARGET DIRECTORY -set_cover_merge=1 -use_counters=0
                                                          keep what covers more than the kept corpus, and no more
    python -m tests.fuzz TARGET FILE                      try one input (a crash that a hunt has left) again

Whatever else stands after them are libFuzzer's own options.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

atheris: Any = import_module("atheris")  # has no types, and is not installed everywhere

_LIMITS = ("-max_len=16384", "-timeout=10", "-rss_limit_mb=1024")
#: What has surprised parsers before.
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, 2**63, 10**25, float("nan"), float("inf"), "", " ", "\0", "\ud800", "🙂" * 300,
    "STOP", "START", "1", "9" * 19, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", 1, 253402300799,
    253402300799999, "+5215600000001", "183000000000001@lid", "5215600000001@c.us", "34600000001@s.whatsapp.net",
    "true_5215600000001@c.us_3EB0A1B2C3D4E5F60001", "3EB0A1B2C3D4E5F60001", "675c5f0a1b2c3d4e5f600001",
    "message:in:new", "message:out:ack", "message:out:failed", "message:reaction", "number:session", "reaction",
    "failed", "read", "inbound", "outbound", [], {}, [{}], {"id": "3EB0A1B2C3D4E5F60001"},
)  # fmt: skip
#: Which the parser asks for.
_KEYS = (
    "reactions", "quoted", "quotedMessage", "message", "chat", "contact", "lid", "wid", "waId", "id", "reference",
    "deliveryStatus", "ack", "status", "events", "sentAt", "readAt", "error", "failureReason", "fromMe", "flow",
    "media", "caption", "text", "fromNumber", "author", "meta", "isGroup", "date", "timestamp", "created", "type",
)  # fmt: skip


def _mutate_json(data: bytes, max_size: int, seed: int) -> bytes:
    """Change a value somewhere: bytes changed at random are hardly ever JSON, and then test the JSON parser only."""
    random = Random(seed)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    places = list(_places(document))
    if not places or random.random() < 0.25:
        return bytes(atheris.Mutate(data, max_size))
    for _ in range(random.randint(1, 3)):
        container, key = random.choice(places)
        match random.randrange(4):
            case 0:
                other, of = random.choice(places)
                container[key] = other[of]
            case 1 if isinstance(container[key], str):
                mutated = atheris.Mutate(container[key].encode("utf-8", "surrogatepass"), 64)
                container[key] = bytes(mutated).decode("utf-8", "replace")
            case 2 if isinstance(container, dict):
                container[random.choice(_KEYS)] = container[key]
            case _:
                container[key] = random.choice(_VALUES)
    try:
        mutated = json.dumps(document).encode()
    except (ValueError, RecursionError):  # a value put into itself
        return data
    return mutated if len(mutated) <= max_size else data


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    if depth > 50:
        return
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key], depth + 1)


def main(arguments: Sequence[str]) -> None:
    """Hunt until a crash or the end of the runs; libFuzzer ends the process."""
    name, *options = arguments
    with atheris.instrument_imports(include=["wamsg2", "yarl", "phonenumbers"]):
        targets = import_module("tests.fuzz.targets")
    if found := next((each for each in options if Path(each).is_dir()), None):
        # New inputs go into the first directory.
        kept = str(targets.CORPUS / name)
        is_merge = any(each.endswith("merge=1") for each in options)
        options.insert(options.index(found) + (not is_merge), kept)
        options.append(f"-artifact_prefix={found}/")
    # To merge, libFuzzer starts itself anew as its first argument says.
    program = f"{sys.executable} -m tests.fuzz {name}"
    mutator = {"custom_mutator": _mutate_json} if name == "webhook" else {}
    with targets.TARGETS[name](Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))) as target:
        atheris.Setup([program, *_LIMITS, *options], target, **mutator)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
