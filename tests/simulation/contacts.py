"""The people at the other end: they reply, repeat themselves, opt out, react, and write from other ids."""

from collections.abc import Sequence
from random import Random

from tests.simulation.ledger import Meaning, Message, Person, Shown, Word
from tests.simulation.timeline import DAY_SECONDS, HOUR_SECONDS, since_start, whole_seconds
from tests.simulation.wassenger import Wassenger
from tests.simulation.weather import spread
from tests.simulation.world import World

_WORDS = {
    Meaning.REPLY: (
        "yes",
        "Sí, gracias",
        "ok 👍",
        "who is this?",
        "please do",
        "you may stop by at my shop any time",
    ),
    Meaning.STOP: ("STOP", "stop!", "Baja", "ARRÊT.", "unsubscribe", "STOP SVP", "désabonnez-moi", "توقف"),
    Meaning.START: ("START", "start"),
    Meaning.SUSPECTED: ("stop by any time",),
}
#: How the numbers of a country are written by people, and by WhatsApp.
_SPELLINGS = (
    ("+346{:08}", "+346{:08}"),
    ("+346{:08}", "+346{:08}"),
    ("+55119{:08}", "+5511{:08}"),
    ("+5255{:08}", "+52155{:08}"),
    ("+5411{:08}", "+54911{:08}"),
)
#: Countries that have renumbered: WhatsApp keeps the number under which somebody registered.
_RENUMBERED = (
    ("+2250707{:06}", "+22507{:06}"),
    ("+2290197{:06}", "+22997{:06}"),
)


def population(random: Random, count: int, days: int) -> list[Person]:
    """So many people, a few of whom cannot be reached, and a few of whom change their number in these days."""
    people = [_person(random, index) for index in range(count)]
    if random.random() < 0.5:
        _let_some_move(random, people, days)
    if random.random() < 0.3:
        _gather_bad_numbers(random, people)
    return people


def _person(random: Random, index: int) -> Person:
    if random.random() < 0.1:
        written, spelled = random.choice(_RENUMBERED)
        digits = index
    else:
        written, spelled = random.choice(_SPELLINGS)
        digits = 90_000_000 + index  # Brazil's numbers that begin with 9 have two spellings
    bad = random.random()
    return Person(
        index,
        f"Name{index}",
        written.format(digits),
        spelled.format(digits),
        index,
        on_whatsapp=bad > 0.03,
        works=bad < 0.96,
        is_forbidden=0.5 < bad < 0.52,
    )


def _let_some_move(random: Random, people: Sequence[Person], days: int) -> None:
    """The second of each pair is the new number of the first; both may be in the team's files."""
    for old, new in zip(people[::2], people[1::2], strict=False):
        if random.random() < 0.4:
            new.human = old.human
            new.from_seconds = old.until_seconds = random.uniform(0.05, 0.7) * days * DAY_SECONDS


def _gather_bad_numbers(random: Random, people: Sequence[Person]) -> None:
    """A file may begin with numbers that nobody has checked."""
    for person in people[: random.randint(10, 20)]:
        person.on_whatsapp = False


class Contacts:
    """What they do."""

    def __init__(self, world: World, wassenger: Wassenger) -> None:
        self._world = world
        self._wassenger = wassenger
        self._random = world.chance("contacts")
        # What share of their words shows all ids, the number only, or the hidden id only.
        self._shown = {
            person.index: self._random.choice(((6, 3, 1), (1, 0, 0), (1, 0, 3), (0, 1, 1)))
            for person in world.ledger.people
        }

    def live(self) -> None:
        """Begin the days: some write without having been asked."""
        for person in self._world.ledger.people:
            if self._random.random() < 0.25:
                self._later(self._random.uniform(0.0, self._world.end_seconds), person, self._any(), None)

    def received(self, message: Message) -> None:
        """A message of ours has reached its contact."""
        random = self._random
        person = message.attempt.person
        if random.random() < 0.1:
            self._world.timeline.after(spread(random, 1.0, HOUR_SECONDS), self._wassenger.react, message)
        if random.random() > (0.65 if message.attempt.step == 1 else 0.2):
            return
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            quotes = message if random.random() < 0.3 else None
            self._later(self._thinking_seconds(message), person, self._any(), quotes)

    def _any(self) -> Meaning:
        meaning = self._random.random()
        if meaning < 0.08:
            return Meaning.STOP
        if meaning < 0.12:
            return Meaning.START
        return Meaning.SUSPECTED if meaning < 0.14 else Meaning.REPLY

    def _thinking_seconds(self, message: Message) -> float:
        random = self._random
        kind = random.random()
        if kind < 0.55:
            return spread(random, 0.2, 120.0)
        if kind < 0.75:
            return spread(random, 120.0, 20 * HOUR_SECONDS)
        if kind < 0.9 and message.sent_at:  # around the end of the window
            ends_seconds = since_start(message.sent_at) + DAY_SECONDS - self._world.timeline.seconds
            return max(ends_seconds + random.uniform(-4.0, 4.0), 1.0)
        return random.uniform(20.0, 30.0) * HOUR_SECONDS

    def _number_of(self, human: int) -> Person:
        """Somebody's number now."""
        numbers = self._world.ledger.numbers_of(human)
        return next(person for person in numbers if person.has_number(self._world.timeline.seconds))

    def _later(self, seconds: float, person: Person, meaning: Meaning, quotes: Message | None) -> None:
        self._world.timeline.after(seconds, self._write, person, meaning, quotes)

    def _write(self, person: Person, meaning: Meaning, quotes: Message | None) -> None:
        random, world = self._random, self._world
        person = self._number_of(person.human)
        elsewhere = random.random() < world.weather.elsewhere
        number = len(world.ledger.words) + 1
        (shown,) = random.choices(list(Shown), self._shown[person.index])
        word = Word(
            f"AC{number:018X}",
            person,
            random.choice(_WORDS[meaning]),
            meaning,
            world.timeline.moment(),
            whole_seconds(world.timeline.provider.now()),
            None if elsewhere else quotes,
            shown,
            to_other_device=elsewhere,
        )
        self._wassenger.write(word)
        if meaning is Meaning.REPLY and random.random() < 0.04:  # and think again before the answer has left
            self._later(random.uniform(1.5, 2.5), person, Meaning.STOP, None)
        elif meaning is Meaning.STOP and random.random() < 0.5:  # some change their mind, some more than once
            then = random.choice((Meaning.START, Meaning.START, Meaning.STOP))
            self._later(spread(random, 1.0, 12 * HOUR_SECONDS), person, then, None)
        elif meaning is Meaning.START and random.random() < 0.4:
            self._later(spread(random, 1.0, 12 * HOUR_SECONDS), person, Meaning.STOP, None)
