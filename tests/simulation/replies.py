"""No reply is lost: whoever replied in time, and may be written to, has their Message 2 in the end."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from tests.simulation.evidence import Breach, Evidence, is_reply, went_in_the_end, words_of
from tests.simulation.ledger import Attempt, Campaign, Meaning, Message, Person, Report, Shown, Stage, Word
from tests.simulation.timeline import HOUR_SECONDS, since_start
from tests.simulation.world import World
from wamsg2 import rules
from wamsg2.model import Overlap


def no_reply_is_lost(evidence: Evidence) -> Iterator[Breach]:
    """At the end, in calm weather, with all windows over."""
    lost = _Replies(evidence)
    for word in evidence.world.ledger.words.values():
        if (what := lost.judge(word)) is not None:
            yield Breach("reply", what, word.person, None)


#: Where lists are kept short, one in calm weather reaches back so far before the calm for sure.
_CALM_LISTS_SECONDS = 20 * HOUR_SECONDS
_SILENCING = (Meaning.STOP, Meaning.SUSPECTED)


class _Replies:
    """Which replies had to be answered; where the truth leaves room for doubt, none."""

    def __init__(self, evidence: Evidence) -> None:
        self._world: World = evidence.world
        ledger = evidence.world.ledger
        #: Humans; who may have opted out is one too, until somebody has judged it.
        self._silenced = {w.person.human for w in ledger.words.values() if w.meaning in _SILENCING}
        self._silenced |= {
            ledger.people[index].human for index, moments in ledger.opted_out_by_hand.items() if moments
        }
        self._words = words_of(self._world)
        self._attempts: dict[int, list[Attempt]] = defaultdict(list)
        for attempt in ledger.attempts:
            self._attempts[attempt.person.index].append(attempt)
        self._accepted: dict[tuple[int, str, int], Message] = {
            (m.attempt.person.index, m.attempt.campaign.name, m.attempt.step): m for m in ledger.messages
        }
        self._statuses: dict[str, str] = dict(evidence.rows("SELECT reference, status FROM messages"))
        known = {row[0] for row in evidence.rows("SELECT wa_id FROM messages WHERE wa_id IS NOT NULL")}
        #: Whose hidden ids the daemon was told, by their own words or by a report on a message that it knows.
        self._lids_told = {p.index for p in ledger.people if p.lid_told} | {
            news.message.attempt.person.index
            for _, news, _ in ledger.acknowledged
            if isinstance(news, Report) and news.shows_lid and news.message.wa_id in known
        }

    def judge(self, word: Word) -> str | None:
        """What is wrong, if anything is."""
        if word.taken is None:
            if word.to_other_device:
                return None
            if self._world.habits.catch_up_seconds and self._is_listed(word):
                return f"the words {word.wa_id} were never found"
            return None
        person = word.person
        if not is_reply(word) or person.human in self._silenced or not self._is_known(word):
            return None
        if word.quotes and word.quotes.attempt.person is not person:
            return None  # it answers what reached them under their old number
        open_campaigns = self._open(person, word)
        if self._world.habits.policy.overlap is Overlap.LATEST and word.quotes and word.quotes.attempt.step == 1:
            if len(open_campaigns) > 1 and not (word.quotes.told and word.quotes.told < word.taken):
                return None  # the daemon may not have known what is quoted
            quoted = word.quotes.attempt.campaign
            open_campaigns = [c for c in open_campaigns if c is quoted]
        must = [c for c in open_campaigns if self._must_answer(word, c)]
        if self._world.habits.policy.overlap is Overlap.LATEST:
            if open_campaigns and must == open_campaigns and not any(self._answered(person, c) for c in must):
                return f"the reply {word.wa_id} to {' or '.join(c.name for c in must)} has no Message 2"
            return None
        missing = [c.name for c in must if not self._answered(person, c)]
        return f"the reply {word.wa_id} to {', '.join(missing)} has no Message 2" if missing else None

    def _is_listed(self, word: Word) -> bool:
        """Whether a list that begins with the first launch has it, and one that came to its end, in calm weather."""
        wrote_seconds, world = since_start(word.written_at), self._world
        if world.habits.kept and wrote_seconds < world.end_seconds - _CALM_LISTS_SECONDS:
            return False  # lists reach back for little more than a day there, and each may have failed for so long
        return any(a.started.seconds < wrote_seconds for a in world.ledger.attempts[:1])

    def _is_known(self, word: Word) -> bool:
        if word.shown is not Shown.LID:
            return True
        is_lasting = self._world.habits.kept is None  # an id is forgotten with its contact
        is_only = len(self._world.ledger.numbers_of(word.person.human)) == 1
        return is_lasting and is_only and word.person.index in self._lids_told

    def _open(self, person: Person, word: Word) -> list[Campaign]:
        """Every campaign that the daemon may have thought open for the contact when they wrote."""
        slack = timedelta(seconds=2 * (self._world.timeline.ahead_seconds + self._world.timeline.behind_seconds) + 6)
        window = self._world.habits.policy.window
        found: dict[str, Campaign] = {}
        for attempt in self._attempts[person.index]:
            if attempt.step == 1:
                sent = self._accepted.get((person.index, attempt.campaign.name, 1))
                times = [attempt.server_at, *([sent.sent_at] if sent and sent.sent_at else [])]
                if min(times) - slack <= word.written_at <= max(times) + window + slack:
                    found[attempt.campaign.name] = attempt.campaign
        return list(found.values())

    def _must_answer(self, word: Word, campaign: Campaign) -> bool:
        message_1 = self._accepted.get((word.person.index, campaign.name, 1))
        if message_1 is None or message_1.sent_at is None or message_1.stage is Stage.FAILED:
            return False
        if campaign.cancelled or not campaign.answers or self._was_held_too_long(word.person, campaign):
            return False
        if (word.person.index, campaign.name) in self._world.ledger.given_up:
            return False
        if word.taken is None or word.taken < message_1.attempt.started:
            return False  # it was no reply to this one when it was decided about
        if message_1.failed_first and self._statuses.get(message_1.attempt.reference) not in ("delivered", "read"):
            return False  # nobody told that it arrived after all
        earliest, latest = went_in_the_end(self._world, message_1, word)
        behind = timedelta(seconds=self._world.timeline.behind_seconds)
        window = self._world.habits.policy.window
        return latest - rules.TOLERANCE + behind <= word.written_at <= earliest + window

    def _was_held_too_long(self, person: Person, campaign: Campaign) -> bool:
        """Whether a reply of theirs was too old when the campaign was resumed: the first one has the Message 2."""
        timeline = self._world.timeline
        fresh_seconds = rules.REPLY_STALE_AFTER.total_seconds() - timeline.ahead_seconds - timeline.behind_seconds - 1
        since_seconds = min(a.started.seconds for a in self._attempts_of(person, campaign)) - 10
        return any(
            since_seconds <= since_start(word.written_at) <= end - fresh_seconds
            for _, end in campaign.pauses
            for word in self._words[person.human]
        )

    def _attempts_of(self, person: Person, campaign: Campaign) -> list[Attempt]:
        return [a for a in self._attempts[person.index] if a.campaign is campaign]

    def _answered(self, person: Person, campaign: Campaign) -> bool:
        return (person.index, campaign.name, 2) in self._accepted
