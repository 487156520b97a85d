"""What differs between two lines of the same error is replaced by a word for its kind: `user 81 not found` and
`user 9 not found` are both `user <number> not found`.

One alternation, tried from the left at each place: what is listed first wins, so the specific comes before the general.
"""

import re

LONGEST = 1_000  # characters of a message that are looked at

# The edges of a value: not in the middle of a word. A hyphen or a dot may be either side of one.
_EDGE = r"(?<![A-Za-z0-9_])"
_END = r"(?![A-Za-z0-9_])"

_MONTHS = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_DAYS = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*"
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?"
_ZONE = r"(?:\s?(?:Z|UTC|GMT|CES?T|[ECMP][SD]T|MSK|IST|BST|JST|[+-]\d{2}:?\d{2}))?"
_IPV4 = r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_UNIT = r"(?:ns|[µμu]s|ms|milliseconds?|microseconds?|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)"
_SIZE = r"(?:[kKMGTP]i?[Bb]|[Bb]ytes?|bytes?|B)"
_NUMBER = r"\d+(?:[.,_]\d+)*(?:[eE][+-]?\d+)?"

_KINDS: list[tuple[str, str]] = [
    ("url", r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s<>\"'`]*[^\s<>\"'`.,;:!?)\]}]"),
    ("email", rf"{_EDGE}[A-Za-z0-9][\w.+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{{2,}}"),
    ("uuid", rf"{_EDGE}[0-9a-fA-F]{{8}}-[0-9a-fA-F]{{4}}-[0-9a-fA-F]{{4}}-[0-9a-fA-F]{{4}}-[0-9a-fA-F]{{12}}{_END}"),
    ("hash", rf"\b(?:sha(?:1|224|256|384|512)|md5):[0-9a-fA-F]{{8,}}{_END}"),
    ("mac", rf"{_EDGE}(?:[0-9a-fA-F]{{2}}[:-]){{5}}[0-9a-fA-F]{{2}}{_END}"),
    (
        "date",
        "|".join(
            (
                rf"{_EDGE}\d{{4}}-\d{{2}}-\d{{2}}(?:[T ]{_TIME}{_ZONE})?{_END}",
                rf"{_EDGE}\d{{4}}/\d{{2}}/\d{{2}}(?:[ T]{_TIME}{_ZONE})?{_END}",
                rf"{_EDGE}\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{4}}(?:[ T]{_TIME}{_ZONE})?{_END}",
                rf"{_EDGE}\d{{1,2}}/{_MONTHS}/\d{{4}}(?::{_TIME}{_ZONE})?",
                rf"\b(?:{_DAYS},? )?\d{{1,2}} {_MONTHS},? \d{{4}}(?: {_TIME}{_ZONE})?",
                rf"\b(?:{_DAYS},? )?{_MONTHS} {{1,2}}\d{{1,2}}(?:,? \d{{4}})?(?: {_TIME}{_ZONE}(?: \d{{4}})?)?{_END}",
                rf"{_EDGE}\d{{8}}T\d{{6}}Z?{_END}",
                rf"{_EDGE}{_TIME}(?:\s?[AaPp][Mm]|{_ZONE}){_END}",
            )
        ),
    ),
    (
        "ip",
        "|".join(
            (
                rf"\[?(?<![\w:.])(?=[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:)(?=[0-9a-fA-F:.]*(?:::|(?:[0-9a-fA-F]*:){{7}}))"
                rf"(?:[0-9a-fA-F:]*:{_IPV4}|[0-9a-fA-F:]{{2,}})(?:%\w+)?(?![\w:])(?:/\d{{1,3}})?\]?(?::\d+)?",
                rf"(?<![\w.])(?:{_IPV4})(?:/\d{{1,2}}|:\d{{1,5}})?(?![\w]|\.\d)",
            )
        ),
    ),
    ("hex", rf"{_EDGE}0[xX][0-9a-fA-F]+{_END}"),
    (
        "quoted",
        r"(?<!\w)\"(?:[^\"\\\n]|\\.)*\"|(?<!\w)'(?:[^'\\\n]|\\.)*'(?!\w)|`[^`\n]*`|(?<!\w)[\u00ab\u201c\u2018][^\u00bb\u201d\u2019\n]*[\u00bb\u201d\u2019]",
    ),
    (
        "path",
        r"(?<![\w/.~<>-])(?:~|\.{1,2})?/(?:[\w.@+%=~-]+/)*[\w.@+%=~-]*[\w@+%=~-]/?(?!\w)|\b[A-Za-z]:\\(?:[^\\\s:*?\"<>|]+\\?)+",
    ),
    # Letters and digits mixed, and long enough to be no word: commits, digests, container ids, tokens of a session.
    ("hash", rf"{_EDGE}(?=[0-9a-fA-F]*\d)(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{{7,}}{_END}"),
    ("hash", rf"{_EDGE}(?=[A-Za-z0-9_-]*\d[A-Za-z_-]*\d)(?=[A-Za-z0-9_-]*[A-Za-z])[A-Za-z0-9_-]{{20,}}={{0,2}}{_END}"),
    ("size", rf"{_EDGE}[+-]?{_NUMBER}\s?{_SIZE}{_END}"),
    (
        "duration",
        rf"{_EDGE}[+-]?(?:{_NUMBER}\s?{_UNIT}(?![A-Za-z0-9_]|\.\d)\s?)*{_NUMBER}\s?{_UNIT}{_END}|{_EDGE}(?:\d+[dhms]){{2,}}{_END}",
    ),
    ("duration", rf"\bPT(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?{_END}"),
    (
        "number",
        rf"(?<![A-Za-z0-9_.])[+-]?{_NUMBER}%?(?![A-Za-z0-9_])|(?<=[_-])\d+(?![A-Za-z])|(?<=[A-Za-z])\d{{2,}}(?![A-Za-z0-9])|(?<![A-Za-z0-9_])\d+(?=(?:st|nd|rd|th)\b)",
    ),
]

_ANY = re.compile("|".join(f"(?P<k{index}>{pattern})" for index, (_, pattern) in enumerate(_KINDS)))
_NAMES = {f"k{index}": f"<{name}>" for index, (name, _) in enumerate(_KINDS)}
_BLANKS = re.compile(r"\s+")


def parameterise(message: str) -> str:
    """Return `message` with the values in it replaced by their kinds, and its blanks by single ones."""
    cut = message[:LONGEST]
    named = _ANY.sub(lambda found: _NAMES[found.lastgroup or ""], cut)
    return _BLANKS.sub(" ", named).strip()
