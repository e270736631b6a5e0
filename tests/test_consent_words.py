"""How people opt out and in, and what only looks like it."""

import itertools
import string
import unicodedata
from pathlib import Path
from time import process_time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wamsg2 import consent_words
from wamsg2.consent_words import fold, read
from wamsg2.rules import Consent

law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WORDS = tuple(word for words in consent_words.OPT_OUT.values() for word in words)
FRILLS = (
    "", ".", "!", "!!!", " ", "\n", "\t\n ", " !", "…", "?!", ",", ";)", '"', "»", "*", " 🛑", "🙏🏽", " 🇫🇷", "❤️",
    "✌️", " ✋\ufe0f", " ‼️", "\u200b", "\u200d", "\u200f", "\u202e", "\u2066", "\ufeff", "\u00a0", "\u202f", "\ufffd",
)  # fmt: skip
#: Of which none makes the others into another phrase.
SAID_AROUND = (
    "svp",
    "s'il vous plaît",
    "stp",
    "merci",
    "merci beaucoup",
    "please",
    "thank you",
    "por favor",
    "obrigada",
)
contents = st.sampled_from(("demain", "bus", "je viens", "bill", "ok", "hoje", "غدا", "maison"))


@pytest.mark.parametrize("word", WORDS)
def test_every_word_opts_out_as_people_type_it(word: str) -> None:
    marked = unicodedata.normalize("NFD", word)
    bare = "".join(c for c in marked if not unicodedata.combining(c))
    for written in (word, word.lower(), word.upper(), word.title(), word.swapcase(), marked, bare):
        for frill in FRILLS:
            assert read(f"{frill}{written}{frill}") is Consent.OPT_OUT, (written, frill)


@pytest.mark.parametrize("around", [*consent_words.POLITENESS, *consent_words.OBJECTS])
def test_politeness_and_object_change_nothing(around: str) -> None:
    for written in (f"STOP {around}", f"stop, {around}!", f"{around} stop", f"Désabonnez-moi {around}"):
        assert read(written) is Consent.OPT_OUT, written
    assert read(around) is None


@pytest.mark.parametrize(
    "text",
    [
        "STOP SVP", "stop merci", "STOP PUB", "STOP 1", "STOP 36179", "Arrêtez", "Arrête", "Se désabonner",
        "désabonnez-moi", "Me désinscrire", "Stop promotions", "Pare", "Cancelar inscrição", "توقف", "إلغاء الاشتراك",
        "STOP\n--\nJean Dupont\nDirecteur commercial, Lomé", "STOP\n-- \nJean", "STOP\r\n\r\nJean Dupont",
        # spelled otherwise
        "ＳＴＯＰ", "stop  all", "Opt out!", "opt-out", "OPT‑OUT", "remove\nme", "Désabonnez‑moi", "DESABONNEZ MOI",
        "don’t contact me", "S\u00adTOP", "الغاء الإشتراك", "إلغـــاء الاشتراك", "تَوَقَّف", "*STOP*", "_stop_", "~STOP~",
        "“stop”", "¡Stop!", "«Stop»", "\u200eSTOP", "🛑 STOP", "STOP 1️⃣", "STOP ١", "STOP #1", "STOP +33612345678",
        "STOP.Merci", "stop-pub", "STOP STOP STOP", "Stop, désabonnez-moi",
        # what is to stop
        "Arrêtez vos messages", "stop les messages", "STOP DE VOS MESSAGES", "Stop à la pub", "arrêt des SMS, merci",
        "Arrêtez de m'envoyer des messages s'il vous plaît", "Désabonnez-moi de la liste", "Stop WhatsApp",
        "ne m'envoyez plus de messages", "Je ne veux plus recevoir vos publicités", "pub stop", "1 stop",
        "stop sending me messages", "Stop all messages please", "Remove me from the mailing list", "Please stop",
        "dar de baja de la lista", "Baja de publicidad por favor", "No me envíen más mensajes, gracias",
        "Pare de enviar mensagens", "SAIR da lista", "Não quero receber mais mensagens", "parar, obrigado",
        "أوقفوا الرسائل من فضلكم", "توقفوا عن إرسال الرسائل", "لا ترسلوا لي رسائل", "شكرا، توقف",
        # asked for
        "Merci de me désabonner", "Veuillez me désinscrire", "Merci d'arrêter les messages", "Je veux me désabonner",
        # signed
        "STOP\n\nMarie", "STOP\n\nJean DUPONT\n+228 90 12 34 01", "Stop svp\n\nCordialement,\nAma de Souza",
        "STOP\n\nJean-Marc N'Diaye\nTél. : 06 12 34 56 78\nm.x@example.org", "STOP\n \nEnvoyé de mon iPhone",
        "STOP\n—\nMairie de Lomé", "STOP\n\nMerci\n\nMaria dos Santos", "STOP\n\nJ. Dupont\nhttps://example.org/a",
    ],
)  # fmt: skip
def test_what_opts_out(text: str) -> None:
    assert read(text) is Consent.OPT_OUT


@pytest.mark.parametrize(
    "text",
    [
        "Stop, je viens demain", "Arrêt de bus Total", "Please stop the bill", "stop it", "Stop,je viens", "ok stop",
        "Non, stop", "stop start", "Don't stop", "Non stop", "j'arrête", "Can I unsubscribe?", "Bonjour STOP",
        "le stop", "la baja", "Baja el precio", "baja 10€", "Baja 10 %", "baja 20 $", "Pare aqui", "Sair hoje",
        "Não pare", "Vou parar", "Arrêt à la maison", "sans arrêt", "Pare no sinal", "توقف المصعد",
        "إلغاء الموعد", "STOP jean@example.org", "STOP https://example.org", "Ok je viens\n\nStop",
        "STOP\nJean Dupont",
        "stop 10h", "Arrêt 10/12", "arrêt 10:30",
        # not signed
        "Stop\n\nJe viens demain", "Stop\n\nDemain", "Stop\n\nBonjour", "STOP\n\nJE VIENS DEMAIN", "Stop\n\nPourquoi",
        "Stop\n\nAttention !", "Stop\n\nViens ici", "Stop\n\ndemain", "Stop\n\nسأصل غدا", "Bonjour\n--\nSTOP",
    ],
)  # fmt: skip
def test_what_only_a_person_can_tell(text: str) -> None:
    assert read(text) is Consent.OPT_OUT_SUSPECTED


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "!", "🛑", "--", "\n\n", "-", "'", "stopwatch", "nonstop", "non-stop", "stop-motion", "st op",
        "s.t.o.p",
        "no", "No", "NO!", "Non", "Fin", "END", "end", "cancel", "quit", "quitter", "yes", "ok", "start now", "bajar",
        "started", "https://stop.example", "stop@example.org", "El precio es alto", "alto precio", "Réabonnement",
        "s'abonner", "para", "Merci", "les messages", "1", "36179", "promo", "les", "Jean\n\nDupont",
        "Stop, je viens demain matin avec Ama", "Le bus s'est arrêté où ?", "stopstop",
        "stop" * 40, "x" * 10_000, "stop " + "x" * 10_000, "stop " * 40, "\ufdfa" * 64, "\ufdfa" * 1_000,
    ],
)  # fmt: skip
def test_what_says_nothing_about_it(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    "text", ["START", "start", "Start!", " start \n", "UNSTOP", "opt-in", "START svp", "Start\n\nAma"]
)
def test_opt_in(text: str) -> None:
    assert read(text) is Consent.OPT_IN


@pytest.mark.parametrize("text", ["start messages", "start 1", "restart", "start it", "Stop and start"])
def test_only_the_word_itself_opts_in(text: str) -> None:
    assert read(text) is not Consent.OPT_IN


@pytest.mark.parametrize(
    "frill", ["!" * 70, " " * 70, "🛑" * 70, "\u200b" * 400], ids=["marks", "spaces", "emojis", "none"]
)
def test_many_frills(frill: str) -> None:
    assert read(f"{frill}STOP{frill}") is Consent.OPT_OUT


def test_six_words_are_suspected_and_seven_are_not() -> None:
    assert read("stop a b c d e") is read("a b c d e stop") is Consent.OPT_OUT_SUSPECTED
    assert read("stop a b c d e f") is read("a b c d e f stop") is None
    assert read("arrêtez-vous a b c d e") is None  # another word than "arrêtez"
    assert read("s'arrête - a b c d 🛑 !") is None
    assert read("J'arrête a b c d") is None
    assert read("on s'arrête") is Consent.OPT_OUT_SUSPECTED


# --- further words ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("further", [["Désolé, non"], ("desole non",), frozenset({"DÉSOLÉ NON"})])
def test_further_words_are_like_the_others(further: list[str]) -> None:
    assert read("Désolé non, merci !", further) is Consent.OPT_OUT
    assert read("désolé non je viens", further) is Consent.OPT_OUT_SUSPECTED
    assert read("STOP", further) is Consent.OPT_OUT
    assert read("Désolé", further) is read("désolé non") is None


def test_a_further_word_without_letters_is_no_word() -> None:
    assert read("me@example.org", ["you@example.org", "!", ""]) is read("!", ["!"]) is None


# --- laws -------------------------------------------------------------------------------------------------------


@law
@given(st.sampled_from(WORDS), st.lists(st.booleans(), min_size=40), st.data())
def test_case_and_what_is_around_never_hide_an_opt_out(word: str, upper: list[bool], data: st.DataObject) -> None:
    frills = st.lists(st.sampled_from((*FRILLS, *(c for c in string.punctuation if c not in "-'@"))), max_size=5).map(
        "".join
    )
    said = st.lists(st.sampled_from(SAID_AROUND), max_size=2)
    written = "".join(c.upper() if up else c.lower() for c, up in zip(word, itertools.cycle(upper), strict=False))
    parts = [
        *data.draw(said),
        unicodedata.normalize(data.draw(st.sampled_from(("NFC", "NFD"))), written),
        *data.draw(said),
    ]
    text = " ".join(data.draw(frills) + " " + part + " " + data.draw(frills) for part in parts)
    assert read(text) is Consent.OPT_OUT


@law
@given(st.sampled_from(WORDS), st.lists(contents, min_size=7, max_size=12), st.integers(0, 12))
def test_who_says_more_than_six_words_more_speaks_of_something_else(word: str, more: list[str], place: int) -> None:
    more.insert(min(place, len(more)), word)
    assert read(" ".join(more)) is None


@law
@given(st.sampled_from(WORDS), contents)
def test_one_word_more_is_enough_for_a_doubt(word: str, more: str) -> None:
    several = len(f"{word} {more}".split()) > consent_words.SUSPECTED_WORDS or word in consent_words.ONLY_ALONE
    for text in (f"{word} {more}", f"{more} {word}"):
        assert read(text) is (None if several else Consent.OPT_OUT_SUSPECTED)


@law
@given(
    st.text()
    | st.lists(st.sampled_from((*WORDS, *FRILLS, "--", "Jean", "\n", "\n\n", "-", "'", "1", "svp"))).map("".join)
)
def test_any_text_is_read(text: str) -> None:
    said = read(text)
    assert fold(fold(text)) == fold(text)
    assert read(f" {text} ") is said or len(text) > 900
    assert read(text, [text]) in (Consent.OPT_OUT, Consent.OPT_OUT_SUSPECTED, said)


def test_a_text_of_any_length_costs_nothing() -> None:
    texts = ["x" * 2**20, "stop " * 2**18, "\ufdfa" * 2**19, "\n" * 2**20, "🙏" * 2**18, "STOP\n--\n" + "x" * 2**20]
    began = process_time()
    for _ in range(100):
        assert [read(text) for text in texts] == [None] * 5 + [Consent.OPT_OUT]
    assert process_time() - began < 3  # under a tenth of a second, measured; a reading of everything takes minutes


# --- the page ---------------------------------------------------------------------------------------------------


def page() -> str:
    """What the page must list, from the tables."""
    rows = [
        *(f"| {language} | {' · '.join(words)} |" for language, words in consent_words.OPT_OUT.items()),
        f"| opt in | {' · '.join(consent_words.OPT_IN)} |",
        f"| politeness | {' · '.join(consent_words.POLITENESS)} |",
        f"| object | {' · '.join(consent_words.OBJECTS)} |",
        f"| leads to an object | {' · '.join(consent_words.LINKS)} |",
    ]
    return "\n".join(rows)


def test_the_page_lists_the_tables() -> None:
    text = (Path(__file__).parents[1] / "docs/opt-out-words.md").read_text(encoding="utf-8")
    listed = [
        line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| language", "| what"))
    ]
    assert "\n".join(listed) == page()
