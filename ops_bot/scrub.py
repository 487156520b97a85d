"""Take secrets out of text before anyone stores or shows it.

A log line that leaks a password must not leak it a second time into a message, a ledger and their backups. Known
shapes go wherever they stand; unknown ones go by the name before them (`password=`, `"token": "…"`). What identifies
builds stays: digests, commit hashes, tags, image names.

Every pattern starts at a literal and repeats over bounded or non-overlapping ranges, so that the cost grows with the
length of the text alone: 40,000 hostile characters take milliseconds.
"""

import math
import re
from collections import Counter

REMOVED = "[removed]"

# Shapes that are secret wherever they stand. None may match REMOVED: scrubbing twice changes nothing.
_SHAPES = re.compile(
    r"""
      -----BEGIN\ [A-Z0-9 ]{0,40}PRIVATE\ KEY(?:\ BLOCK)?-----      # up to its end, or to that of the text
        (?:[^-]|-(?!----END\ ))*+ (?:-----END\ [A-Z0-9 ]{0,60}-----)?
    | (?<![A-Z0-9])(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AIPA|ANPA|ANVA|APKA|AROA)[A-Z0-9]{16}(?![A-Z0-9])
        (?: [\s:/,;"'|]{1,4} [A-Za-z0-9+/]{40} (?![A-Za-z0-9+/]) )?  # often followed by its other half
    | xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{8,}                      # Slack
    | xapp-[0-9]-[A-Za-z0-9-]{8,}
    | hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[A-Za-z0-9_/-]+
    | (?:discord(?:app)?\.com/api/webhooks)/[0-9]+/[A-Za-z0-9_-]+
    | gh[a-z]_[A-Za-z0-9]{16,}                                      # GitHub
    | github_pat_[A-Za-z0-9_]{16,}
    | gl[a-z]{2,5}-[A-Za-z0-9_-]{16,}                               # GitLab
    | (?:(?<![A-Za-z0-9_-])|(?<=%20)|(?<=%3D))                      # JSON Web Tokens
        eyJ[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{5,}+(?:\.[A-Za-z0-9_-]*+){0,3}
    | (?:sk|rk|pk|whsec)_(?:live|test)_[A-Za-z0-9]{10,}             # Stripe
    | (?<![A-Za-z0-9-])sk-[A-Za-z0-9_-]{20,}                        # OpenAI, Anthropic
    | AIza[A-Za-z0-9_-]{35} | (?<![A-Za-z0-9])ya29\.[A-Za-z0-9_-]{20,}  # Google
    | SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,}                  # SendGrid
    | (?:npm|hf|dckr_pat|dop_v1|glc|shpat)_[A-Za-z0-9_-]{20,}
    | (?<![A-Za-z0-9])hv[sbr]\.[A-Za-z0-9_-]{20,}                   # Vault
    | \$(?:2[abxy]|5|6|y|7|argon2id?)\$[A-Za-z0-9./$=,+]{20,}       # password hashes
    """,
    re.VERBOSE,
)

# scheme://user:password@host, and scheme://token@host. A port and a path with an @ in it are no password.
_URL = re.compile(
    r"""://(?:
        (?P<user>[^\s:/@"'<>?\#]{0,100}) : (?!// | \d{1,5}(?:[/?\#]|$)) (?P<password>(?:(?!://)[^\s"'<>]){1,300}) @
      | (?P<token>[A-Za-z0-9_-]{20,200}) (?::[^\s:/@"'<>]{0,40})? @
    )""",
    re.VERBOSE,
)

_AUTHORIZATION = re.compile(
    r"""(?P<name>(?:authorization|\bcookie)\\{0,3}["']?\s{0,4}[:=]\s{0,4}\\{0,3}["']?)
        (?: (?P<scheme>(?:bearer|basic|token|negotiate|apikey|key)\s{1,4}) [^\s"'\\,]+
          | (?:digest|aws4-hmac-sha256|hawk|oauth|ntlm)\b[^\n]* | [^"'\\\n]+ )""",
    re.VERBOSE | re.IGNORECASE,
)
_BEARER = re.compile(r"\b(?P<scheme>(?:Bearer|Basic)[ ])(?P<value>[A-Za-z0-9+/=._~-]{12,})", re.IGNORECASE)

# The names of secrets, as they end: DB_PASSWORD, x-api-key, clientSecret.
_NAME = r"""(?:
    passw(?:or)?d | passphrase | passwd | (?<=[_-])pass | (?<=[_-])pwd | (?<![A-Za-z_])pwd(?==[^/])
  | secret(?:[_-]?(?:access)?[_-]?key)?
  | (?:access|auth|api|app|application|private|signing|encryption|master|session|account|hmac|jwt|ssh|license)[_-]?key
  | token | credentials? | x-amz-(?:signature|security-token|credential) | (?<=[?&])sig
  | session[_-]?id | webhook[_-]?url
  | (?<=["'])auth(?=\\{0,3}["'])
) (?:[_-]?(?:base|value|hash|digest|confirmation|production|prod|staging|test|old|new|[0-9]{1,2}))?"""
_VALUE = r"""(?:
    (?P<quote>\\{0,3}["']) (?P<quoted>(?:(?!(?P=quote))[^\n])*+)
  | (?P<bare>(?:(?![&,;]\s?[\w.-]{1,40}[=:])[^\s"'`\\])++)
)"""
_PAIR = re.compile(
    rf"(?P<name>{_NAME})(?P<separator>\\{{0,3}}[\"']?\s{{0,4}}(?:=>|:=|=|:)\s{{0,4}}){_VALUE}",
    re.VERBOSE | re.IGNORECASE,
)
_OPTION = re.compile(
    rf"(?P<name>(?<![\w-])--?[\w-]{{0,30}}{_NAME})(?P<separator>\ {{1,4}}){_VALUE}", re.VERBOSE | re.IGNORECASE
)
_STATEMENT = re.compile(
    r"""(?P<name>\b(?: (?:password|identified\sby)\s{1,4}(?=') | login\s{1,4}[^\s]{1,100}\s{1,4}password\s{1,4}
      | curl\b[^\n]{0,200}?\s(?:-u|--user)[ =]?[^\s:]{0,100}: ))(?:'[^'\n]*'|[^\s"']+)""",
    re.VERBOSE | re.IGNORECASE,
)
# A name, a word or two, and a long value: "Datadog API key 0123…", "token is Zm9v…".
_LOOSE_NAME = "(?:" + _NAME.replace("[_-]?", "[\\ _-]?") + r"| datadog\ key)"
_NEAR = re.compile(
    rf"""(?P<name>{_LOOSE_NAME})(?P<between>s?[\ \t:="'(]{{1,4}}(?:(?:is|was|of|for)\s)?["'(]?)
    (?P<value>[A-Za-z0-9+/=_-]{{20,400}})""",
    re.VERBOSE | re.IGNORECASE,
)
# Said instead of a secret, or beside one: not secret.
_HARMLESS = re.compile(
    r"""(?: null | none | nil | true | false | yes | no | undefined | empty | missing | required
      | \*+ | x{3,} | \.{3} | …
      | <[^>]*> | \[[^\]]*\] | \$?\{.* | \$\(.* | \$[A-Za-z_]\w* | %\w+% | %\([a-z]\)s | sha256:[0-9a-f]{64}
      | [^A-Za-z0-9]{0,3} ) [.,;:!)\]}]*""",
    re.VERBOSE | re.IGNORECASE,
)
# After "token:" and the like stands, in prose, a word; a secret of letters alone is longer than words are.
_PROSE = re.compile(r"[A-Za-z]?[a-z]{1,14}[.,;:!)\]}]*")
_COUNT = re.compile(r"\d{1,6}[.,;)\]}]*")
_DIGEST = re.compile(r"(?:sha\d{1,3}[:-])?(?:[0-9a-f]{7,12}|[0-9a-f]{40}|[0-9a-f]{64})")


def scrub(text: str) -> str:
    """`text` with every secret in it replaced by `[removed]`; the name and the surroundings of each stay."""
    if len(text) < 6:
        return text  # nothing secret fits, and most fields are that short
    text = _SHAPES.sub(REMOVED, text)
    text = _headless_private_key(text)
    text = _URL.sub(_without_password, text)
    text = _AUTHORIZATION.sub(lambda found: f"{found['name']}{found['scheme'] or ''}{REMOVED}", text)
    text = _BEARER.sub(lambda found: f"{found['scheme']}{REMOVED}" if _is_token(found["value"]) else found[0], text)
    text = _PAIR.sub(_without_value, text)
    text = _OPTION.sub(_without_value, text)
    text = _STATEMENT.sub(lambda found: found["name"] + REMOVED, text)
    return _NEAR.sub(_without_near_value, text)


def _without_password(found: re.Match[str]) -> str:
    if found["token"] is not None:
        return f"://{REMOVED}@"
    return found[0] if found["password"] == REMOVED else f"://{found['user']}:{REMOVED}@"


def _without_value(found: re.Match[str]) -> str:
    quote = found["quote"] or ""
    value: str = found["quoted"] if quote else found["bare"]
    if _HARMLESS.fullmatch(value.strip()):
        return found[0]
    strict = found["name"].lower().lstrip("-").endswith(("password", "passwd", "passphrase", "pass", "pwd"))
    if not strict and not quote:
        assigned = found["separator"].strip("\\\"' ") == "="
        if _COUNT.fullmatch(value) or (not assigned and _PROSE.fullmatch(value)):
            return found[0]
    # What closes a bracket or ends a clause behind the value is no part of it.
    tail = "" if quote else value[len(value.rstrip(",;)]}")) :]
    return f"{found['name']}{found['separator']}{quote}{REMOVED}{tail}"


def _without_near_value(found: re.Match[str]) -> str:
    value = found["value"]
    hexadecimal = re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{40}", value)
    if hexadecimal or (_is_dense(value) and not _DIGEST.fullmatch(value)):
        return f"{found['name']}{found['between']}{REMOVED}"
    return found[0]


def _is_token(value: str) -> bool:
    """Is `value` no word: letters and digits mixed, or capitals within."""
    return _is_dense(value) or (not value[1:].islower() and not value.isupper())


def _is_dense(value: str) -> bool:
    """Does `value` look drawn at random: letters and digits mixed, more than 3.3 bits a character."""
    if not (any(c.isdigit() for c in value) and any(c.isalpha() for c in value)):
        return False
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())
    return entropy > 3.3


_PRIVATE_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINE = re.compile(r"[ \t|>]{0,20}[A-Za-z0-9+/=]{1,100}\s*")


def _headless_private_key(text: str) -> str:
    """Remove private keys whose first line is not in `text`, as happens to the tail of a log."""
    kept: list[str] = []
    begin = 0
    for found in _PRIVATE_KEY_END.finditer(text):
        lines = text[begin : found.start()].split("\n")
        begin = found.end()
        last = lines.pop()  # what stands before the mark on its own line
        while lines and _KEY_LINE.fullmatch(lines[-1]):
            lines.pop()
        kept += [line + "\n" for line in lines]
        kept += ["" if _KEY_LINE.fullmatch(last) or "\\n" in last else last, REMOVED]
    return "".join(kept) + text[begin:]
