"""The words with which people opt out and in, and how a message is read for them [reply 8].

Everything is compared folded: without case, accents, marks, invisible characters and emoji. A message opts out when
an opt-out word is all it says. What may stand around the word changes nothing: politeness, what it is about
("the messages", "pub", a number) and a mail signature. ``docs/opt-out-words.md`` lists the tables for operators.

Short everyday words (NO, END, CANCEL, FIN) are left out: taking one for an opt-out would silence a contact who said
something else.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final, assert_never

from wamsg2.rules import Consent

#: Words by language, as people write them; accents and case are for the reader only.
OPT_OUT: Final[Mapping[str, tuple[str, ...]]] = {
    "everywhere": ("STOP", "STOP ALL", "STOPALL"),
    "French": (
        "arrêt", "arrêter", "arrêtez", "arrête", "stopper", "stoppez", "stoppe",
        "désabonner", "se désabonner", "me désabonner", "désabonnez", "désabonnez-moi", "désabonnez-nous",
        "désabonne", "désabonne-moi", "désabonner-moi", "je me désabonne", "je veux me désabonner",
        "je souhaite me désabonner", "je voudrais me désabonner", "désabonnement",
        "désinscrire", "se désinscrire", "me désinscrire", "désinscrivez", "désinscrivez-moi", "désinscrivez-nous",
        "désinscris", "désinscris-moi", "désinscrire-moi", "je me désinscris", "je veux me désinscrire",
        "je souhaite me désinscrire", "je voudrais me désinscrire", "désinscription",
        "retirez-moi", "retire-moi", "ne plus recevoir", "je ne veux plus recevoir", "je ne souhaite plus recevoir",
        "ne plus m'envoyer", "ne m'envoyez plus", "ne m'envoie plus", "ne plus m'écrire", "ne m'écrivez plus",
        "ne m'écris plus", "ne plus me contacter", "ne me contactez plus", "ne me contacte plus",
    ),
    "English": (
        "unsubscribe", "unsubscribe me", "unsubscribed", "unsuscribe", "opt out", "optout", "opt me out",
        "opting out", "remove me", "take me off", "I want to unsubscribe", "I want to opt out",
        "stop messaging", "stop messaging me", "stop texting", "stop texting me", "stop contacting me",
        "do not contact me", "don't contact me", "do not message me", "don't message me", "don't text me",
        "no more messages",
    ),
    "Spanish": (
        "baja", "darme de baja", "dar de baja", "darse de baja", "dame de baja", "deme de baja", "denme de baja",
        "dadme de baja", "me doy de baja", "quiero darme de baja", "quiero la baja", "solicito la baja",
        "solicitar baja", "cancelar suscripción", "cancelar la suscripción", "cancelar mi suscripción",
        "cancela mi suscripción", "cancele mi suscripción", "cancelen mi suscripción", "anular suscripción",
        "anular la suscripción", "anular mi suscripción", "desuscribir", "desuscribirme", "desuscribirse",
        "desuscríbeme", "desuscríbame", "desuscríbanme", "desuscripción", "desapuntarme", "desapúntame", "alto",
        "parar", "pare", "paren", "dejar de recibir", "deja de enviarme", "deje de enviarme", "dejen de enviarme",
        "deja de enviar", "deje de enviar", "dejen de enviar", "dejen de mandarme", "no me envíen más",
        "no me envíe más", "no quiero recibir más", "no quiero más mensajes", "sácame de la lista",
        "sáquenme de la lista", "quítame de la lista", "quítenme de la lista",
    ),
    "Portuguese": (
        "sair", "parar", "pare", "parem", "parar de receber", "quero parar de receber",
        "descadastrar", "descadastrar-me", "me descadastrar", "quero me descadastrar", "descadastre",
        "descadastre-me", "me descadastre", "descadastrem-me", "me descadastrem", "descadastra", "descadastro",
        "descadastramento", "cancelar inscrição", "cancelar a inscrição", "cancelar minha inscrição",
        "cancelar a minha inscrição", "cancele minha inscrição", "cancele a minha inscrição",
        "cancela minha inscrição", "cancelamento de inscrição", "cancelar subscrição", "cancelar a subscrição",
        "anular subscrição", "anular a subscrição", "desinscrever", "me desinscrever", "desinscreva-me",
        "me desinscreva", "remova-me", "me remova", "me tire da lista", "me tira da lista", "remover da lista",
        "não quero receber mais", "não quero mais receber", "não me envie mais", "não me enviem mais",
        "não me mande mais", "não me mandem mais",
    ),
    "Arabic": (
        "توقف", "توقفي", "توقفوا", "أوقف", "أوقفي", "أوقفوا", "أوقفها", "إيقاف", "إلغاء", "إلغاء الاشتراك",
        "إلغاء اشتراك", "إلغاء اشتراكي", "ألغ الاشتراك", "ألغ اشتراكي", "ألغي الاشتراك", "ألغي اشتراكي",
        "ألغوا الاشتراك", "ألغوا اشتراكي", "أريد إلغاء الاشتراك", "أريد إلغاء اشتراكي", "إيقاف الاشتراك",
        "احذفني", "احذفوني", "لا ترسل لي", "لا ترسلوا لي", "لا أريد رسائل", "لا أريد رسائلكم",
    ),
    "German": ("stopp", "abmelden"),
    "Italian": ("disiscriviti", "annulla iscrizione"),
    "Dutch": ("afmelden",),
}  # fmt: skip
#: These opt out alone, but are everyday words within a sentence: "el precio es alto" raises no suspicion.
ONLY_ALONE: Final = ("alto",)
#: Few, and none that people use for anything else: what is taken for one wrongly is sent to a person who said STOP.
OPT_IN: Final = ("START", "UNSTOP", "opt in", "optin", "resubscribe")

#: Said around a word without changing it.
POLITENESS: Final = (
    "svp", "stp", "s'il vous plaît", "s'il te plaît", "sil vous plaît", "sil te plaît", "merci", "merci beaucoup",
    "merci bien", "merci d'avance", "merci de", "merci d'", "veuillez", "prière de", "je vous prie", "cordialement",
    "bien cordialement", "cdlt", "salutations", "bien à vous",
    "please", "pls", "plz", "thanks", "thank you", "thank you very much", "many thanks", "thx", "regards",
    "kind regards", "best regards",
    "por favor", "porfavor", "porfa", "gracias", "muchas gracias", "saludos", "un saludo",
    "obrigado", "obrigada", "muito obrigado", "muito obrigada", "por gentileza", "atenciosamente",
    "من فضلك", "من فضلكم", "لو سمحت", "لو سمحتم", "رجاء", "الرجاء", "شكرا", "شكرا لك", "شكرا لكم", "شكرا جزيلا",
    "bitte", "danke", "vielen dank", "per favore", "grazie", "alstublieft", "bedankt",
)  # fmt: skip
#: What there is to be stopped.
OBJECTS: Final = (
    "messages", "message", "msg", "msgs", "sms", "mms", "texto", "textos", "texts", "WhatsApp", "pub", "pubs",
    "publicité", "publicités", "promo", "promos", "promotion", "promotions", "marketing", "spam", "spams", "info",
    "infos", "information", "informations", "newsletter", "newsletters", "email", "emails", "e-mail", "e-mails",
    "mails", "notification", "notifications", "alertes", "alerts", "annonces", "offres", "offers", "ads",
    "advertising", "liste", "list", "mailing list", "liste de diffusion",
    "mensaje", "mensajes", "publicidad", "promoción", "promociones", "ofertas", "notificaciones", "correos", "lista",
    "lista de mensajes",
    "mensagem", "mensagens", "publicidade", "propaganda", "propagandas", "promoção", "promoções", "notificações",
    "الرسائل", "رسائل", "رسائلكم", "رسائلك", "الرسالة", "الإعلانات", "إعلانات", "إعلاناتكم", "العروض", "الإشعارات",
    "واتساب", "الواتساب", "القائمة",
)  # fmt: skip
#: What leads to one of them: articles, prepositions, pronouns, "sending". Alone they say something else ("la baja").
LINKS: Final = (
    "le", "la", "les", "l'", "un", "une", "des", "de", "du", "d'", "vos", "votre", "tes", "ton", "ces", "ce", "cette",
    "aux", "au", "à", "sur", "par", "en", "tous", "toutes", "toute", "m'", "me", "moi", "nous", "envoyer", "envoi",
    "recevoir",
    "the", "your", "these", "those", "this", "all", "any", "my", "to", "from", "of", "on", "with", "by", "us",
    "sending", "receiving", "getting",
    "el", "los", "las", "lo", "tus", "sus", "su", "tu", "estos", "estas", "este", "esta", "del", "al", "por", "con",
    "más", "mis", "mi", "todos", "todas", "enviar", "enviarme", "mandar", "mandarme", "recibir",
    "o", "os", "as", "da", "do", "das", "dos", "na", "no", "nas", "em", "com", "mais", "seus", "suas", "sua", "essas",
    "esses", "receber",
    "من", "عن", "في", "على", "هذه", "كل", "جميع", "لي", "إرسال",
)  # fmt: skip

# Longer texts are read to here, and only as far as a signature: nobody needs more for an opt-out.
_READ_CHARACTERS = 1_000
_MAX_TOKENS = 30
#: A longer message that begins or ends with an opt-out word speaks of something else.
SUSPECTED_WORDS: Final = 6
#: A further word may have so many characters.
WORD_CHARACTERS: Final = 64

# Written alike, or typed for one another; the rest is done by Unicode's decomposition.
_SAME = str.maketrans(
    dict.fromkeys("’‘‛ʼʹ`´′", "'") | dict.fromkeys("‐‑", "-") | dict(zip("ٱیىکة", "اييكه", strict=True))
)
_TATWEEL = "\u0640"
#: Beside a number they make it a price, a share, a time or a date, which is not the number of ``STOP 36179``.
_AMOUNT = re.compile(r"[%٪‰]|\d[/:]\d")
_OPAQUE = "@"
_INNER = re.compile(r"([-']+)")
_ADDRESS = re.compile(r"://|\bwww\.|\w@\w", re.IGNORECASE)


class _Kind(Enum):
    OUT = auto()
    IN = auto()
    POLITE = auto()
    OBJECT = auto()
    NUMBER = auto()
    LINK = auto()


_Phrase = tuple[str, ...]
_Lexicon = Mapping[str, Sequence[tuple[_Phrase, _Kind]]]


def fold(text: str) -> str:
    """A word as it is compared: lower case without marks, its parts with one space between them.

    Addresses are left out, since a message may hold any.
    """
    return " ".join(token for token in _Words.of(text).tokens if token != _OPAQUE)


def read(text: str, further: Iterable[str] = ()) -> Consent | None:
    """What a message says about consent.

    Args:
        text: as it was written, of any length.
        further: opt-out words beside `OPT_OUT`, in any spelling.

    Returns:
        OPT_OUT or OPT_IN where it says nothing else; OPT_OUT_SUSPECTED where at most `SUSPECTED_WORDS` words begin
        or end with an opt-out word but say more; otherwise None.
    """
    lexicon = _lexicon(tuple(further))
    head = text[:_READ_CHARACTERS]
    signed = _without_signature(head)
    if signed is None and len(text) > _READ_CHARACTERS:
        return None
    if not any(_phrases_of(_Words.of(head).tokens, lexicon, _Kind.OUT, _Kind.IN)):
        return None
    bodies = [head] if signed is None else [signed, head]
    bodies += [unnamed for body in bodies if (unnamed := _without_name(body, lexicon)) is not None]
    messages = [_Words.of(body) for body in bodies]
    if any(_says_only(message, _Kind.OUT, lexicon) for message in messages):
        return Consent.OPT_OUT
    if any(_says_only(message, _Kind.IN, lexicon) for message in messages):
        return Consent.OPT_IN
    if any(_begins_or_ends(message, lexicon) for message in messages[: 1 if signed is None else 2]):
        return Consent.OPT_OUT_SUSPECTED
    return None


# --- words ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Words:
    """A text in folded tokens. "Désabonnez-moi" is one word of two tokens, "j'arrête" of two that stand apart."""

    tokens: tuple[str, ...]
    begins: frozenset[int]  #: tokens with which a word begins
    ends: frozenset[int]  #: behind which a word ends, as indices of the next token
    count: int
    has_amount: bool

    @classmethod
    def of(cls, text: str) -> "_Words":
        """The words of a text, up to what any message of consent has."""
        tokens: list[str] = []
        begins: set[int] = set()
        ends: set[int] = set()
        count = 0
        for word in _words(text):
            begins.add(len(tokens))
            for part in _INNER.split(word):
                if part.startswith(("-", "'")):
                    if "'" in part:
                        ends.add(len(tokens))
                        begins.add(len(tokens))
                else:
                    tokens.append(part)
            ends.add(len(tokens))
            count += 1
            if len(tokens) > _MAX_TOKENS:
                break
        has_amount = any(map(str.isdecimal, tokens)) and (
            _AMOUNT.search(text) is not None or "Sc" in map(unicodedata.category, text)
        )
        return cls(tuple(tokens), frozenset(begins), frozenset(ends), count, has_amount)


def _words(text: str) -> Iterator[str]:
    for chunk in text.split() if _ADDRESS.search(text) else (text,):
        if _ADDRESS.search(chunk):
            yield _OPAQUE
            continue
        for word in _plain(chunk).split():
            if stripped := word.strip("-'"):
                yield stripped


def _plain(text: str) -> str:
    """Letters and digits without case and marks, inner hyphens and apostrophes; a space for everything else."""
    if text.isascii():
        return text.lower().translate(_ASCII)
    # Cut again: one character may decompose into eighteen.
    text = unicodedata.normalize("NFKD", text.translate(_SAME))[:_READ_CHARACTERS].casefold()
    return "".join(map(_kept, unicodedata.normalize("NFKD", text).translate(_SAME)))


def _kept(character: str) -> str:
    if character in "-'":
        return character
    if character.isalnum() and character != _TATWEEL:
        return character
    category = unicodedata.category(character)
    return "" if category[0] == "M" or category == "Cf" or character == _TATWEEL else " "


_ASCII = {code: _kept(chr(code)) for code in range(128)}


# --- what they say ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _lexicon(further: tuple[str, ...]) -> _Lexicon:
    kinds = (
        (_Kind.OUT, (*further, *(word for words in OPT_OUT.values() for word in words))),
        (_Kind.IN, OPT_IN),
        (_Kind.POLITE, POLITENESS),
        (_Kind.OBJECT, OBJECTS),
        (_Kind.LINK, LINKS),
    )
    phrases: dict[str, dict[tuple[_Phrase, _Kind], None]] = {}
    for kind, words in kinds:
        for word in words:
            if phrase := tuple(fold(word).split()):
                phrases.setdefault(phrase[0], {})[phrase, kind] = None
    return {first: tuple(known) for first, known in phrases.items()}


_ONLY_ALONE = frozenset(_Words.of(word).tokens for word in ONLY_ALONE)


def _phrases_at(tokens: _Phrase, index: int, lexicon: _Lexicon) -> Iterator[tuple[_Phrase, _Kind]]:
    for phrase, kind in lexicon.get(tokens[index], ()):
        if tokens[index : index + len(phrase)] == phrase:
            yield phrase, kind


def _phrases_of(tokens: _Phrase, lexicon: _Lexicon, *wanted: _Kind) -> Iterator[tuple[int, int]]:
    """Where the phrases of these kinds stand: first token, and the one behind the last; in their order."""
    for index in range(len(tokens)):
        for phrase, kind in _phrases_at(tokens, index, lexicon):
            if kind in wanted:
                yield index, index + len(phrase)


#: What was read so far: whether the word was said, and whether a link waits for its object.
_State = tuple[bool, bool]


def _says_only(message: _Words, wanted: _Kind, lexicon: _Lexicon) -> bool:
    """Whether the message is words of one kind and what may stand around them, nothing else."""
    tokens = message.tokens
    if len(tokens) > _MAX_TOKENS:
        return False
    reached: list[set[_State]] = [set() for _ in range(len(tokens) + 1)]
    reached[0].add((False, False))
    for index, states in enumerate(reached[:-1]):
        steps = [(len(phrase), kind) for phrase, kind in _phrases_at(tokens, index, lexicon)]
        if tokens[index].isdecimal() and not message.has_amount:
            steps.append((1, _Kind.NUMBER))
        for state in states:
            for length, kind in steps:
                if (after := _after(state, kind, wanted)) is not None:
                    reached[index + length].add(after)
    return (True, False) in reached[-1]


def _after(state: _State, kind: _Kind, wanted: _Kind) -> _State | None:
    """The state behind a phrase of this kind, or None where it makes the message say something else."""
    said, waits = state
    match kind:
        case _Kind.OBJECT:
            return (said, False) if wanted is _Kind.OUT else None
        case _Kind.LINK:
            return (said, True) if wanted is _Kind.OUT else None
        case _Kind.NUMBER:
            return (said, False) if wanted is _Kind.OUT and not waits else None
        case _Kind.POLITE:
            return None if waits else (said, False)
        case _Kind.OUT | _Kind.IN:
            return (True, False) if kind is wanted and not waits else None
        case _:
            assert_never(kind)


def _begins_or_ends(message: _Words, lexicon: _Lexicon) -> bool:
    """Whether a short message begins or ends with an opt-out word, beside politeness."""
    if message.count > SUSPECTED_WORDS:
        return False
    tokens = message.tokens
    polite = list(_phrases_of(tokens, lexicon, _Kind.POLITE))
    firsts, lasts = {0}, {len(tokens)}
    for first, last in polite:  # in their order, so that one may follow another
        if first in firsts:
            firsts.add(last)
    for first, last in reversed(polite):
        if last in lasts:
            lasts.add(first)
    return any(
        (first in firsts and last in message.ends) or (last in lasts and first in message.begins)
        for first, last in _phrases_of(tokens, lexicon, _Kind.OUT)
        if tokens[first:last] not in _ONLY_ALONE
    )


# --- signatures -------------------------------------------------------------------------------------------------

_RULE = re.compile(r"\s*(?:--+|__+|—+)\s*")
_NUMBER = re.compile(r"(?:\w{1,10}[\s.:]{0,4})?\+?[\d\s().-]{6,24}")
_STOCK = tuple(
    fold(words)
    for words in ("Envoyé de mon", "Envoyé depuis mon", "Sent from my", "Enviado desde mi", "Enviado do meu")
)
_POLITENESS = frozenset(fold(words) for words in POLITENESS)
_PARTICLES = frozenset(
    {"de", "du", "des", "d", "la", "le", "el", "al", "da", "do", "dos", "van", "von", "der", "den", "ben", "bin"}
)
# Written with a capital, a line of these is what somebody says, not what somebody is called.
_NOT_NAMES = frozenset(
    fold(word)
    for word in (
        "je", "tu", "il", "elle", "on", "nous", "vous", "ils", "ça", "cela", "c'est", "oui", "non", "ok", "bonjour",
        "bonsoir", "salut", "demain", "aujourd'hui", "maintenant", "mais", "et", "ou", "pas", "attends", "attendez",
        "pourquoi", "quand", "comment", "qui", "quoi", "urgent", "allez", "voilà", "bus", "taxi", "vite", "lundi",
        "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche",
        "you", "we", "they", "it", "yes", "no", "hello", "hi", "hey", "tomorrow", "today", "now", "but", "and",
        "wait", "why", "when", "how", "who", "what", "where", "monday", "tuesday", "wednesday", "thursday", "friday",
        "saturday", "sunday",
        "yo", "sí", "hola", "mañana", "hoy", "ahora", "pero", "espera", "espere", "porque", "cuándo", "cómo", "quién",
        "qué", "eu", "sim", "não", "olá", "oi", "amanhã", "hoje", "agora", "mas", "aqui", "aquí", "ici", "here",
    )
)  # fmt: skip


def _without_signature(text: str) -> str | None:
    """What stands above a line that is only a rule, or None."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if index and _RULE.fullmatch(line):
            return "\n".join(lines[:index])
    return None


def _without_name(text: str, lexicon: _Lexicon) -> str | None:
    """What stands above an empty line and a short block of name, number, greeting; or None."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if "" not in lines:
        return None
    empty = lines.index("")
    block = [line for line in lines[empty:] if line]
    if len(block) > 6 or not all(_is_of_a_signature(line, lexicon) for line in block):
        return None
    return "\n".join(lines[:empty])


def _is_of_a_signature(line: str, lexicon: _Lexicon) -> bool:
    if len(line) > 60:
        return False
    folded = fold(line)
    if folded in _POLITENESS or folded.startswith(_STOCK) or _NUMBER.fullmatch(line) or _ADDRESS.search(line):
        return True
    words = [word.strip(".,") for word in line.split()]
    shouted = len(words) > 2 and line.isupper()
    if len(words) > 4 or shouted or line.endswith(("!", "?", "…")):
        return False
    return any(word[:1].isupper() for word in words) and all(_is_of_a_name(word, lexicon) for word in words)


def _is_of_a_name(word: str, lexicon: _Lexicon) -> bool:
    folded = fold(word)
    if folded in _PARTICLES:
        return True
    if not word[:1].isupper() or not word.replace("-", "").replace("'", "").replace("’", "").isalpha():
        return False
    return folded not in _NOT_NAMES and not any(_phrases_of(tuple(folded.split()), lexicon, _Kind.OUT))
