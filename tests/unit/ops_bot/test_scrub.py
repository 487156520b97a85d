"""What is secret goes, what identifies a build stays, and neither takes long.

The secrets here are put together at run time: a scanner of this repository must find nothing that looks like one.
"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops_bot.scrub import REMOVED, scrub

HEX = "0123456789abcdef"
MIXED = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7" * 4
AWS_ID = "AKIA" + "Q3EGRY7TWX2ZLMNP"
SLACK = "xox" + "b-" + "123456789012-" + MIXED[:24]
HOOK = "https://hooks." + "slack.com/services/" + "T00000000/B00000000/" + MIXED[:24]
GITHUB = "gh" + "p_" + MIXED[:36]
JWT = "ey" + "J" + MIXED[:20] + ".ey" + "J" + MIXED[:40] + "." + MIXED[:43]
PEM_BODY = "\n".join([MIXED[:64]] * 5)
PEM = "-----BEGIN RSA PRIVATE " + "KEY-----\n" + PEM_BODY + "\n-----END RSA PRIVATE " + "KEY-----"

# name: (text, what must not be left of it, what must still be there)
GOES = {
    "aws key id": (f"using {AWS_ID} in eu-west-1", AWS_ID, "in eu-west-1"),
    "aws both halves": (f"{AWS_ID}:{MIXED[:40]} ok", MIXED[:40], "ok"),
    "aws environment": (f"AWS_SECRET_ACCESS_KEY={MIXED[:40]}", MIXED[:40], "AWS_SECRET_ACCESS_KEY"),
    "aws credentials file": (f"aws_secret_access_key = {MIXED[:40]}", MIXED[:40], "aws_secret_access_key"),
    "aws session": (f"aws_session_token: {MIXED}", MIXED, "aws_session_token"),
    "aws signed url": (f"GET /b/k?X-Amz-Signature={HEX * 4}&X-Amz-Expires=60", HEX * 4, "X-Amz-Expires=60"),
    "slack token": (f"invalid_auth for {SLACK}", SLACK, "invalid_auth for"),
    "slack app token": ("token " + "xapp" + f"-1-A0-{MIXED[:30]} x", MIXED[:30], " x"),
    "slack webhook": (f"POST {HOOK} 404", MIXED[:24], " 404"),
    "github": (f"remote: {GITHUB} denied", GITHUB, "denied"),
    "github in url": (f"https://{GITHUB}@github.com/a/b.git", GITHUB, "github.com/a/b.git"),
    "github fine-grained": ("github" + f"_pat_{MIXED[:60]}", MIXED[:60], ""),
    "gitlab": ("gl" + f"pat-{MIXED[:20]} x", MIXED[:20], " x"),
    "datadog environment": (f"DD_API_KEY={HEX * 2} started", HEX * 2, "started"),
    "datadog header": (f"DD-APPLICATION-KEY: {HEX * 2}{HEX[:8]}", HEX * 2, "DD-APPLICATION-KEY"),
    "datadog yaml": (f"api_key: {HEX * 2}\nsite: datadoghq.com", HEX * 2, "site: datadoghq.com"),
    "datadog query": (f"/v1/events?api_key={HEX * 2}&tags=a", HEX * 2, "&tags=a"),
    "datadog prose": (f"Datadog API key {HEX * 2} is invalid", HEX * 2, "is invalid"),
    "jwt": (f"claims of {JWT} expired", JWT[20:60], "expired"),
    "jwt in encoded url": (f"/cb?t=Bearer%20{JWT}", JWT[20:60], "/cb"),
    "pem": (f"loaded {PEM} done", MIXED[:64], "done"),
    "pem in json": ('{"key": "' + PEM.replace("\n", "\\n") + '", "a": 1}', MIXED[:64], '"a": 1}'),
    "pem without its end": (PEM[:200], MIXED[:64], ""),
    "pem without its beginning": ("line\n" + PEM[60:] + "\nnext", MIXED[:30], "next"),
    "url password": ("postgres://app:hunter2@db1:5432/app", "hunter2", "db1:5432/app"),
    "url without user": ("redis://:hunter2@redis1/0", "hunter2", "redis1/0"),
    "url with @ in it": ("amqp://app:hun@ter2@mq1/", "hun@ter2", "mq1/"),
    "url with / in it": ("postgres://app:hun/ter2@db1/app", "hun/ter2", "db1/app"),
    "pair": ("login failed: password=hunter2 user=ada", "hunter2", "user=ada"),
    "pair in a list": ("dsn password=hunter2,user=ada", "hunter2", "user=ada"),
    "pair in brackets": ("connect(password='hunter2', user='ada')", "hunter2", "user='ada'"),
    "pair in prose": ("Password: hunter2", "hunter2", "Password"),
    "upper case": ("POSTGRES_PASSWORD=hunter2", "hunter2", "POSTGRES_PASSWORD"),
    "libpq": ("PGPASSWORD=hunter2 psql", "hunter2", "psql"),
    "mysql": ("MYSQL_PWD=hunter2 mysql", "hunter2", "mysql"),
    "yaml": ("db_pass: hunter2\nport: 1", "hunter2", "port: 1"),
    "json": ('{"user": "ada", "password": "hun ter2", "n": 1}', "hun ter2", '"n": 1}'),
    "json in json": ('{"m": "{\\"token\\": \\"hunter2\\", \\"n\\": 1}"}', "hunter2", '\\"n\\": 1}'),
    "camel case": ('{"clientSecret":"hunter2xyz"}', "hunter2xyz", "clientSecret"),
    "token": ("token: hunter2x9", "hunter2x9", "token"),
    "token of letters": ("token=correcthorse", "correcthorse", "token"),
    "long token of letters": ("token: correcthorsebatterystaple", "correcthorse", "token"),
    "secret": ("SECRET_KEY=" + MIXED[:50], MIXED[:50], "SECRET_KEY"),
    "hash rocket": (":password => 'hunter2'", "hunter2", ":password"),
    "option": ("app --db-password hunter2 --port 80", "hunter2", "--port 80"),
    "option with =": ("app --token=hunter2x --port 80", "hunter2x", "--port 80"),
    "authorization": (f"> Authorization: Bearer {MIXED[:30]}\n> Host: x", MIXED[:30], "> Host: x"),
    "authorization basic": ("Authorization: Basic YWRhOmh1bnRlcjI=", "YWRhOmh1bnRlcjI", "Authorization: Basic"),
    "authorization json": ('"authorization": "token abcdefgh", "n": 1', "abcdefgh", '"n": 1'),
    "authorization of an own kind": ("authorization: abcdefgh ijk", "abcdefgh", "authorization"),
    "authorization aws": (f'Authorization: AWS4-HMAC-SHA256 Credential=x, Signature="{HEX}"', HEX, "Authorization"),
    "curl": ('curl -H "Authorization: Bearer abcdefgh" https://x/y', "abcdefgh", "https://x/y"),
    "curl user": ("curl -s -u ada:hunter2 https://x/y", "hunter2", "https://x/y"),
    "bare bearer": (f"sent Bearer {MIXED[:30]} to x", MIXED[:30], "to x"),
    "cookie": ("Set-Cookie: session=abc; Path=/", "abc", "Set-Cookie"),
    "docker login": ('{"auths": {"r": {"auth": "YWRhOmh1bnRlcjI="}}}', "YWRhOmh1bnRlcjI", "auths"),
    "sql": ("ALTER USER app PASSWORD 'hun ter2'; SELECT 1", "hun ter2", "SELECT 1"),
    "near a name": (f"the secret is {MIXED[:32]}, said he", MIXED[:32], "said he"),
    "password hash": ("ada:$2y" + "$05$" + MIXED[:53], MIXED[:53], "ada:"),
    "stripe": ("sk" + f"_live_{MIXED[:24]} x", MIXED[:24], " x"),
    "bare basic": ("sent Basic dXNlcjpwYXNz to x", "dXNlcjpwYXNz", "to x"),
    "name with an ending": ("SECRET_KEY_BASE=hunter2x DB_PASSWORD_OLD=hunter2x", "hunter2x", "DB_PASSWORD_OLD"),
    "datadog key in prose": (f"the Datadog key {HEX * 2}", HEX * 2, "the Datadog key"),
    "in the last line": ("a\nb\nc password=hunter2", "hunter2", "a\nb\nc"),
}

STAYS = [
    "",
    "web: v65 is live on web1, web2",
    f"sha256:{HEX * 4}",
    f"registry1:5000/web@sha256:{HEX * 4}",
    f"commit {HEX * 2}{HEX[:8]}",
    f"deployed a1b2c3d, digest {HEX[:12]}",
    f"image id {HEX * 4} pulled in 3.1 s",
    "registry1:5000/eval_worker:v65",
    "ghcr.io/acme/web:v65-rc.1+build.5",
    "http://web1:8000/healthz answered 503",
    "https://ci.example.com:8443/run/65?mail=ada@example.com",
    "git@github.com:acme/web.git",
    "ssh://git@github.com:22/acme/web.git",
    "max_tokens=512 tokens: 1024 token_count=7",
    "SyntaxError: Unexpected token: }",
    "invalid token: expired",
    "token: missing",
    "password: ''",
    'password=""',
    "password: null",
    "password=${DB_PASSWORD}",
    "password: {{ vault_db_password }}",
    "password=********",
    "secrets: [DATABASE_URL]",
    "password reset mail sent to ada",
    "PWD=/srv/app OLDPWD=/",
    "the secret of secrets/production.yml",
    "secret_digest=sha256:" + HEX * 4,
    "uuid 123e4567-e89b-12d3-a456-426614174000",
    "docker run -u 1000:1000 web:v65",
    "author=ada authority=x authored: 2026-11-21T18:36:36Z",
    "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8",  # the fingerprint of a public key
    "keyboard: qwerty keys=12 monkey=abcdefgh key: value",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "make rollback ENV=production SERVICE=web TAG=v64",
    "a very-long-host-name-of-ours.example.internal.company.com",
    "time=18:36:36 level=info msg='GET /play 200' ms=12.5 ip=10.0.0.1:80",
    "eyJust a name", "passing=12 failed=0", "bearer of news", "Basic understanding",
]  # fmt: skip


@pytest.mark.parametrize(("text", "secret", "rest"), GOES.values(), ids=GOES)
def test_a_secret_goes_and_its_surroundings_stay(text: str, secret: str, rest: str) -> None:
    assert secret in text, "or this test proves nothing"
    scrubbed = scrub(text)
    assert secret not in scrubbed
    assert REMOVED in scrubbed
    assert rest in scrubbed


@pytest.mark.parametrize("text", STAYS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize(("text", "secret", "rest"), GOES.values(), ids=GOES)
def test_scrubbing_again_changes_nothing(text: str, secret: str, rest: str) -> None:
    del secret, rest
    assert scrub(scrub(text)) == scrub(text)


@given(
    st.lists(
        st.sampled_from(
            [
                "password",
                "=",
                ":",
                " ",
                '"',
                "'",
                "\\",
                "\n",
                "Bearer ",
                "x" * 20,
                "a1",
                "@",
                "://",
                "--token",
                "[removed]",
                ",",
                "k=v",
            ]
        ),
        max_size=12,
    ).map("".join)
)
def test_scrubbing_any_mixture_twice_is_scrubbing_it_once(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


@pytest.mark.parametrize(
    "unit",
    ["a", "-", " ", "=", "\\", '"', "/", "://", "://a:", "ey" + "J", "eyJaaaaa.", "token", "token:", "password=",
     'password="',
     "--", "--token ", "-----BEGIN PRIVATE " + "KEY-----", "-----END PRIVATE " + "KEY-----\n",
     "authorization:", "cookie: ", "curl ", "login a ",
     "curl -u a:", "secret is a", "AKIA", "xox" + "b-", "$2y$", "a1B2c3D4", "AAAA\n", "key ",
     "token\\", "password =", "k=v&", "a@", "-_"],
)  # fmt: skip
def test_a_hostile_log_is_scrubbed_in_no_time(unit: str) -> None:
    log = (unit * 40_000)[:40_000]
    started = time.process_time()
    scrub(log)
    assert time.process_time() - started < 0.5


def test_the_ends_of_many_keys_are_found_in_one_walk() -> None:
    """Walking back to the beginning of the text from each would take minutes."""
    started = time.process_time()
    assert scrub(("-----END PRIVATE " + "KEY-----\n") * 20_000) == "[removed]\n" * 20_000
    assert time.process_time() - started < 2
