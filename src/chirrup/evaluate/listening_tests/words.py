"""The 96 pairs of words of the diagnostic rhyme test (DRT).

The words of a pair rhyme, and their first consonants differ in one distinctive feature. The first
word of a pair has the feature. Each feature has 16 pairs, two for each of eight vowels.
Source: W. D. Voiers, "Evaluating processed speech using the diagnostic rhyme test", Speech
Technology 1(4), 1983; ANSI/ASA S3.2.
"""

from typing import NamedTuple

_PAIRS = {
    "voicing": """veal-feel bean-peen gin-chin dint-tint zoo-sue dune-tune vole-foal goat-coat
        zed-said dense-tense vast-fast gaff-calf vault-fault daunt-taunt jock-chock bond-pond""",
    "nasality": """meat-beat need-deed mitt-bit nip-dip moot-boot news-dues moan-bone note-dote
        mend-bend neck-deck mad-bad nab-dab moss-boss gnaw-daw mom-bomb knock-dock""",
    "sustention": """vee-bee sheet-cheat vill-bill thick-tick foo-pooh shoes-choose those-doze
        though-dough then-den fence-pence than-dan shad-chad thong-tong shaw-chaw von-bon
        vox-box""",
    "sibilation": """zee-thee cheep-keep jilt-gilt sing-thing juice-goose chew-coo joe-go sole-thole
        jest-guest chair-care jab-gab sank-thank jaws-gauze saw-thaw jot-got chop-cop""",
    "graveness": """weed-reed peak-teak bid-did fin-thin moon-noon pool-tool bowl-dole fore-thor
        met-net pent-tent bank-dank fad-thad fought-thought bong-dong wad-rod pot-tot""",
    "compactness": """yield-wield key-tea hit-fit gill-dill coop-poop you-rue ghost-boast show-so
        keg-peg yen-wren gat-bat shag-sag yawl-wall caught-taught hop-fop got-dot""",
}

FEATURES = tuple(_PAIRS)


class Pair(NamedTuple):
    """Two words, of which the first has the feature."""

    feature: str
    words: tuple[str, str]

    @property
    def name(self) -> str:
        return "-".join(self.words)


def _pair(feature: str, text: str) -> Pair:
    first, second = text.split("-")
    return Pair(feature, (first, second))


PAIRS = tuple(_pair(feature, text) for feature, texts in _PAIRS.items() for text in texts.split())


def word_of(clip: str) -> str:
    """Return the word of a recording: the name of its clip after the last ``__``, in lower case."""
    return clip.rpartition("__")[2].lower()


def talker_of(clip: str) -> str:
    """Return the talker of a recording: the name of its clip before the last ``__``, or nothing."""
    return clip.rpartition("__")[0]
