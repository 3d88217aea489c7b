"""The words that the guards know: what says nothing, what turns a sentence round, what is alike.

Deliberately small. A word that stands in none of these lists counts as it is written, so a missing
one costs an answer from the cache, never a wrong one.
"""

from __future__ import annotations

OPENINGS: tuple[str, ...] = (
    r"hi there|hello there|hi|hello|hey",
    r"if you don't mind|if possible",
    r"i (?:would like|want|need) you to",
    r"would you be so kind as to",
    r"(?:can|could|would|will) you please",
    r"(?:can|could|would|will) you(?= (?:clarify|define|explain|give|list|show|summari[sz]e)\b)",
    r"(?:(?:can|could|would|will) you |would you mind )?(?:tell|telling) me(?= (?:{asking})\b)",
    r"i (?:would like|want) to know(?= (?:{asking})\b)",
    r"i (?:wonder|was wondering)(?= (?:{asking})\b)",
    r"do you know(?= (?:{asking})\b)",
)
"""What a sentence may begin with and mean the same without: patterns. "Can you swim?" is none."""

ASKING = frozenset(("how", "what", "when", "where", "which", "who", "whose", "why"))
"""What a question begins with that asks for more than yes or no."""

ASKS = ASKING | frozenset(
    (
        "am", "are", "can", "could", "did", "do", "does", "had", "has", "have", "is", "may",
        "must", "shall", "should", "was", "were", "will", "would",
    )
)  # fmt: skip
"""What a question begins with: after one of these a question mark says nothing new."""

PHRASES: tuple[tuple[str, str], ...] = (
    ("thank you very much", ""),
    ("thank you", ""),
    ("thanks a lot", ""),
    ("many thanks", ""),
    ("thanks in advance", ""),
    ("how do i", "how"),
    ("how can i", "how"),
    ("how can one", "how"),
    ("how does one", "how"),
    ("how would i", "how"),
    ("how to", "how"),
    ("what is the way to", "how"),
    ("for what reason", "why"),
    ("how come", "why"),
    ("what is the meaning of", "meaning of"),
    ("for instance", "for example"),
    ("in order to", "to"),
)
"""Turns of phrase and what stands for each, anywhere; longer ones are tried first."""

FILLERS = frozenset(("a", "an", "the", "please", "kindly", "thanks", "pls"))
"""Words that change nothing wherever they stand."""

CONTRACTIONS: tuple[tuple[str, str], ...] = (
    ("won't", "will not"),
    ("can't", "can not"),
    ("cannot", "can not"),
    ("shan't", "shall not"),
    ("n't", " not"),
    ("what's", "what is"),
    ("it's", "it is"),
    ("that's", "that is"),
    ("there's", "there is"),
    ("where's", "where is"),
    ("who's", "who is"),
    ("how's", "how is"),
    ("i'm", "i am"),
    ("i've", "i have"),
    ("i'd", "i would"),
    ("'re", " are"),
    ("'ll", " will"),
)

ALIKE: tuple[tuple[str, ...], ...] = (
    ("repair", "fix"),
    ("directory", "folder"),
    ("directories", "folders"),
    ("briefly", "concisely"),
    ("big", "large"),
    ("repository", "repo"),
    ("documentation", "docs"),
    ("database", "db"),
    ("configuration", "config"),
    ("parameter", "param"),
    ("parameters", "params"),
    ("argument", "arg"),
    ("arguments", "args"),
    ("okay", "ok"),
    ("colour", "color"),
    ("behaviour", "behavior"),
    ("optimise", "optimize"),
    ("summarise", "summarize"),
    ("normalise", "normalize"),
    ("serialise", "serialize"),
    ("initialise", "initialize"),
)
"""Words that mean the same. None that is a term of its own anywhere: "make" is a program."""

MOVABLE = frozenset(("briefly",))
"""Words whose place in the sentence doesn't matter."""

COPULAS = frozenset(("is", "are"))
"""Words whose place doesn't matter unless it is the first: "is it?" asks, "it is" doesn't."""

NEGATIONS = frozenset(
    (
        "not", "no", "never", "none", "nothing", "nobody", "nowhere", "neither", "nor", "without",
        "except", "unless", "hardly", "barely", "avoid", "instead", "lacking", "lack", "only",
        "just", "refuse", "stop", "prevent", "exclude", "excluding", "ignore", "skip",
    )
)  # fmt: skip

NUMBERS: dict[str, str] = {
    "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
    "seven": "7", "eight": "8", "nine": "9", "ten": "10", "eleven": "11", "twelve": "12",
    "twenty": "20", "thirty": "30", "fifty": "50", "hundred": "100", "thousand": "1000",
}  # fmt: skip

OPPOSITES: tuple[tuple[str, str], ...] = (
    ("enable enables enabled enabling", "disable disables disabled disabling"),
    ("pass passes passed passing succeed succeeds succeeded", "fail fails failed failing failure"),
    ("add adds added adding insert append", "remove removes removed removing delete drop"),
    ("before earlier prior", "after later following"),
    ("first", "last final"),
    ("start starts started begin begins open opens", "end ends ended finish stop close closes"),
    ("increase increases raise grow more", "decrease decreases lower reduce shrink less fewer"),
    ("above over", "below under"),
    ("up", "down"),
    ("in into inside", "out outside"),
    ("to", "from"),
    ("on", "off"),
    ("with including", "without excluding"),
    ("all every always", "no none never"),
    ("any some", "all every each"),
    ("and", "or"),
    ("min minimum smallest shortest least", "max maximum largest longest most"),
    ("ascending", "descending"),
    ("left", "right"),
    ("top", "bottom"),
    ("read reads reading", "write writes writing"),
    ("push upload send export encode", "pull download receive import decode"),
    ("encrypt lock", "decrypt unlock"),
    ("true yes", "false no"),
    ("allow allows allowed accept grant", "deny denies denied forbid reject revoke block"),
    ("install", "uninstall"),
    ("sync synchronous synchronously", "async asynchronous asynchronously"),
    ("public", "private"),
    ("local", "remote global"),
    ("old older oldest", "new newer newest"),
    ("advantage advantages pros benefits", "disadvantage disadvantages cons drawbacks"),
    ("same equal", "different unequal"),
    ("safe secure valid", "unsafe insecure invalid"),
    ("fast faster fastest quick", "slow slower slowest"),
    ("can may", "must should"),
    ("upgrade", "downgrade"),
    ("compress zip", "decompress unzip extract"),
    ("row rows horizontal", "column columns vertical"),
    ("parent", "child"),
    ("client", "server"),
    ("input", "output"),
    ("cheap cheapest", "expensive"),
    ("positive", "negative"),
    ("even", "odd"),
    ("odd", "prime"),
    ("today", "yesterday tomorrow"),
    ("why", "how"),
)
"""Words and what says the opposite of them, or something else that is easily taken for it."""
