"""The words of :mod:`anyclaude.search.intent`, as patterns for sentences without quotes and paths.

What tells the world from the project: the world's things have names, the project's have an
article, a possessive, or the nouns of code. Names are told by their capitals, so case counts
wherever a pattern doesn't say otherwise.
"""

from __future__ import annotations

FENCE = r"(?s)```.*?(?:```|\Z)"
QUOTED = r"`[^`\n]*`|\"[^\"\n]*\"|“[^”\n]*”|(?<!\w)'[^'\n]+'(?!\w)|«[^»\n]*»"
SENTENCE = r"(?<=[.?!:;])\s+|\n+"
PATH = r"\S*/\S*/\S*|\S+\.(?:py|ts|tsx|json|toml|md|c|h|java|yml|yaml)\b"

_POLITE = r"(?i:(?:please|just|also|now|then|and|ok|so|can you|could you|would you|will you)[ ,]+)*"

# ------------------------------------------------------------- sentences that tell to look there

# What may stand behind it, so that neither a web folder nor an online indicator is meant.
_AFTER = (
    r"(?= *(?:$|[.,;:?!…]"
    r"| (?i:for|how|if|whether|what|which|who|when|on|about|to|and|in)\b))"
)
_WEB = rf"(?i:(?:the )?(?:web|internet)|online){_AFTER}"
_FRESH_READING = (
    r"\b(?i:recent|latest|newest|current|new) "
    r"(?i:articles?|blog posts?|news|benchmarks|papers)\b"
)
_FRESH_FACT = (
    r"(?i:the )?(?i:current|latest|newest|most recent) "
    r"(?i:docs|documentation|release notes|prices?|version) "
    r"(?i:of|for|on) (?i:the |an? )?[A-Z]"
)
_NOT_THE_ENGINE = r"(?!(?i:style|log ?in|sign|oauth|maps|analytics|fonts|sheets|api|cloud)\b)"

LOOKS = (
    rf"^{_POLITE}(?:"
    rf"(?i:search|look|check|browse|research|find|see)\b.{{0,90}}?\b{_WEB}"
    rf"|(?i:do|make|run|perform|use|try) (?i:an? |the )?(?i:web|internet|online) "
    rf"(?i:search){_AFTER}"
    rf"|(?i:google) {_NOT_THE_ENGINE}[\w…]"
    rf"|(?i:search|find|look)\b.{{0,40}}{_FRESH_READING}"
    rf"|(?i:find|look up|get|show me|give me) {_FRESH_FACT}"
    r")"
)
OURS = r"(?i)\b(?:our|my|codebase|repo|we)\b"
COMMAND = (
    rf"(?i)^{_POLITE}(?:(?:search|look|check|browse|research|find)(?: up| out)?(?: on| in)?"
    rf" ?{_WEB}(?: for| whether| if)?:?|(?:do|make|run|perform|use) (?:a )?web search"
    r"(?: on| for| to find)?:?|google(?: for)?)\s+"
)
ONLY_WHERE = r"(?i)\b(?:on|in) (?:the )?(?:web|internet)$"

# ------------------------------------------------------------------- questions about the world

QUESTION = (
    rf"^{_POLITE}(?i:what|which|who|whose|when|how (?:much|many|old|is the weather|did)|is|are|was"
    r"|were|does|do|did|has|have|any|give me|tell me|recently there was)\b"
)
_NAME = r"(?:[A-Z][\w.+#-]*|i[A-Z]\w+|macOS|[\w-]+\.(?:js|io|rs))"
# A thing that is called by its name alone: what belongs to the project has an article.
_BARE = r"(?!(?i:the|this|that|these|those|an?|its?|each|every|all|any)\b)[\w.+#-]+"
_NEWEST = r"(?i:latest|newest|most recent)"
_PRESENT = (
    r"(?i:right now|now|at the moment|these days|nowadays|as of (?:now|today)|currently|today"
    r"|tonight|tomorrow|yesterday|this (?:week|weekend|month|year|season)|last (?:week|month)"
    r"|recently|already|yet|again)"
)
_ROLE = r"(?i:ceo|cto|president|prime minister|chancellor|pope|king|queen|mayor|world champion)"
_END_OF = r"(?i:end of (?:life|support))"

_VERSIONS = (
    rf"\b(?:{_NEWEST}|(?i:current|newer|next|new))(?: [\w-]+){{0,2}} (?i:versions?|releases?)"
    rf" (?i:of|for) (?i:the )?{_NAME}",
    rf"\b(?:{_NEWEST}|(?i:current|newer))(?: [\w-]+){{0,2}} (?i:version of) {_BARE}",
    rf"\b{_NEWEST}(?: (?:stable|minor|major|LTS))?(?: {_NAME})+",
    rf"^(?i:which (?:version|release) of) {_BARE} .*(?:{_PRESENT}|(?i:LTS|stable))",
    rf"(?i:what version of) {_BARE} (?i:came out|is (?:out|current|the latest))",
    rf"(?i:new(?: features)? in) (?i:the )?(?:{_NEWEST} )?{_NAME}",
    rf"^(?i:when (?:does|do|is|are|will|was|did)) .*{_NAME}.*(?:{_END_OF}"
    r"|(?i:released?|due|come out|ship|out|start|visible|deprecated))",
    rf"^(?i:when is the next) (?:\w+ )*(?:{_NAME} )?(?i:release|eclipse|election|version|update)"
    r"(?! (?i:of the|number)).*(?i:due|visible|out|scheduled|\?$)",
    rf"(?:(?i:release date)|{_END_OF}(?i: date)?) (?i:of|for) {_NAME}",
    rf"^(?i:is|are|has|have|was|were) .*{_NAME}.*(?i:released|out)(?: {_PRESENT})?\s*\??$",
    rf"^(?i:is|are) .*{_NAME}.* (?i:still (?:supported|maintained|available|developed|free))",
    rf"^(?i:did|has|have) {_NAME} .*{_PRESENT}",
    rf"^(?i:does|do|can) (?i:the )?(?:{_NEWEST} )?{_NAME}(?: {_NAME})* (?i:support)"
    rf" .*(?:{_PRESENT}|\?$)",
)
_EVENTS = (
    r"^(?i:what(?:'s| is) the latest on)",
    rf"^(?i:any news (?:on|about|from)) (?i:the )?{_NAME}",
    r"(?i:(?:latest|top|today's|recent|current) (?:news|headlines))",
    r"(?i:happened in the news)",
    r"(?i:announced?|launched?|released?|published|shipped|reported)"
    rf".*(?:{_PRESENT}|(?i:at the last))",
    rf"(?i:announcement (?:about|of|from)) {_NAME}",
    rf"^(?i:is|are) (?:{_NAME} ?)+(?i: ?(?:down|having an outage|having (?:problems|issues)))",
    rf"^(?i:is) {_BARE} (?i:down|having an outage|having problems) {_PRESENT}",
    r"(?i:vulnerabilit(?:y|ies)|security issues|cves?|security release)"
    rf" .*(?i:in|for|of) {_BARE}",
    r"\bCVE-\d{4}-\d+",
    r"(?i:fixed upstream|(?:issue|bug) upstream|reported (?:this|it) .*on github)",
)
_FACTS = (
    rf"^(?i:who (?:is|was|are)) (?i:the )?(?i:current |new |next )?{_ROLE}",
    rf"(?i:how old is the (?:current )?){_ROLE}",
    r"^(?i:who (?:won|is leading|leads|is winning)) ",
    r"^(?i:who) (?i:currently|now) (?i:maintains|owns|develops|leads)\b",
    rf"(?i:latest scores|scores in the) .*{_NAME}",
    r"(?i:weather (?:like |going to be )?(?:in|for|at)|weather .*(?:today|tomorrow|weekend))",
    rf"(?i:(?:stock )?price|prices|pricing) (?i:of|for) (?i:an? )?"
    rf"(?:{_NAME}|(?i:gold|silver|oil|gas|electricity))",
    rf"(?i:how much) (?i:does|do|is|are) (?i:an? )?{_NAME}",
    rf"(?i:what does an? ){_NAME}.* (?i:cost)",
    rf"(?i:exchange rate) .*(?:{_PRESENT}|(?i:euro|dollar|pound|yen|franc))",
    r"(?i:stock market|trading at|market share)",
    rf"(?i:inflation(?: rate)?|population|unemployment(?: rate)?) (?i:in|of) {_NAME}",
    r"(?i:cheapest flight|films .*in cinemas|time is it in)",
    rf"(?i:keynote|eclipse|election|public holiday) .*(?:{_PRESENT}|{_NAME})",
)
_NAMED_NOW = (
    r"\b(?i:current (?:status|state|documentation|docs|plans?|regions) (?:of|on)) (?i:the )?"
    rf"{_NAME}",
    rf"(?i:the (?:{_NEWEST}|up-to-date) \w+(?: \w+)? (?:of|in|on|from|for|about) (?:the )?)"
    rf"{_NAME}",
    r"^(?i:which|what|who) .*(?i:this (?:week|weekend|month|year)|these days|nowadays"
    r"|as of (?:now|today)|the best .*right now)",
)
WORLD = (*_VERSIONS, *_EVENTS, *_FACTS, *_NAMED_NOW)
SHORT = rf"^{_NEWEST} {_BARE} (?i:version|release)\s*\??$"

HERE = (
    r"(?i)\b(?:our|ours|we|my|mine|codebase|repo|branch|commits?|diff|git|files?|folders?"
    r"|director(?:y|ies)|functions?|class(?:es)?|methods?|variables?|modules?|components?|helpers?"
    r"|controllers?|endpoints?|schema|migrations?|tables?|columns?|subprocess|builds?|deploys?"
    r"|lock ?file|users?|tests?|queue|cache|buttons?|pages?|fields?|rows?|prompt|parameter"
    r"|imports?|readme|changelog|roadmap|entr(?:y|ies)|values?|headers?|banner|flag|staging"
    r"|this (?!week|weekend|month|year|season|error|issue)\w+|here|package\.json|so far"
    r"|(?:comput|calculat|handl|load|round|stor|cach|render|pars|return|validat|logg|call|pass"
    r"|implement|test|install|configur|initiali[sz])(?:ed|ing))\b"
    r"|\b(?-i:us)\b|\w+_\w+|\w+\(\)|\bin place\b"
)
