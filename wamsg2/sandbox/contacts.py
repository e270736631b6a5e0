"""Simulated people: what a contact does after a Message 1 has reached them.

The rule: a contact reacts to every message sent with priority ``normal`` (a Message 1) and never to one sent with
priority ``high`` (a Message 2), so a conversation always comes to rest.
"""

from collections.abc import Callable
from dataclasses import dataclass

from wamsg2.sandbox.dice import Dice, Span

ANSWERS = ("Yes please", "Sounds good, tell me more", "Who is this?", "Ok 👍", "Oui, avec plaisir", "Sí, gracias")
SECOND_ANSWERS = ("One more thing: when?", "Are you there?", "And how much is it?", "Merci !")
OPT_OUT = "STOP"
EMOJI = "👍"


@dataclass(frozen=True, slots=True)
class Reply:
    """One thing a contact does, ``after_seconds`` after the message reached them."""

    text: str  #: what they write, or the emoji of a reaction
    after_seconds: float = 0.0
    quotes: bool = False  #: as an answer to the message itself
    is_reaction: bool = False  #: an emoji on the message instead of a message


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Everything one contact does about a Message 1."""

    replies: tuple[Reply, ...] = ()
    reads: bool = True  #: whether a ``read`` receipt follows the ``delivered`` one


SILENT = Behaviour()

#: Decides for a phone (E.164 with ``+``); ``None`` leaves the contact to the habits.
Script = Callable[[str], Behaviour | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How people behave on the whole. Rates are 0..1; who does what depends on the seed and the phone alone."""

    reply_rate: float = 0.0  #: share of all contacts who answer
    stop_rate: float = 0.0  #: share of all contacts who write STOP instead
    duplicate_reply_rate: float = 0.0  #: share of those who answer who then write a second, different message
    quote_rate: float = 0.0  #: share of those who answer who quote the message
    reaction_rate: float = 0.0  #: share of all contacts who react with an emoji, whether they write or not
    read_rate: float = 1.0  #: share of all contacts with read receipts
    reply_delay_seconds: Span = (0.0, 0.0)  #: from ``sent`` to the answer, and again to the second one

    def __post_init__(self) -> None:
        for name in ("reply", "stop", "duplicate_reply", "quote", "reaction", "read"):
            if not 0 <= getattr(self, f"{name}_rate") <= 1:
                raise ValueError(f"{name}_rate is a rate, from 0 to 1")
        if self.reply_rate + self.stop_rate > 1:
            raise ValueError("reply_rate and stop_rate are shares of all contacts: together at most 1")
        if not 0 <= self.reply_delay_seconds[0] <= self.reply_delay_seconds[1]:
            raise ValueError("reply_delay_seconds is a shortest and a longest time")


def behaviour_of(phone: str, habits: Habits, dice: Dice) -> Behaviour:
    """What the contact with this phone does, by the habits and the seed."""
    roll = dice.roll("behaviour", phone)
    # Always the same draws in the same order, so that changing one rate leaves the other choices as they were.
    lot, second_lot, quote_lot, reaction_lot, read_lot = (roll.random() for _ in range(5))
    first_delay, second_delay, reaction_delay = (roll.uniform(*habits.reply_delay_seconds) for _ in range(3))
    answer, second_answer = roll.choice(ANSWERS), roll.choice(SECOND_ANSWERS)

    replies = []
    if lot < habits.stop_rate:
        replies.append(Reply(OPT_OUT, first_delay))
    elif lot < habits.stop_rate + habits.reply_rate:
        replies.append(Reply(answer, first_delay, quotes=quote_lot < habits.quote_rate))
        if second_lot < habits.duplicate_reply_rate:
            replies.append(Reply(second_answer, first_delay + second_delay))
    if reaction_lot < habits.reaction_rate:
        replies.append(Reply(EMOJI, reaction_delay, is_reaction=True))
    return Behaviour(tuple(replies), reads=read_lot < habits.read_rate)
