"""`python -m app serve` and `python -m app migrate`."""

import os
import sys

from app.config import ConfigError, load

USAGE = "usage: python -m app serve | migrate"


def main(arguments: list[str]) -> int:
    if arguments not in (["serve"], ["migrate"]):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        config = load(os.environ)
    except ConfigError as error:
        print(f"bad configuration: {error}", file=sys.stderr)
        return 2
    # Each command imports only what it needs, and only here: a deploy waits for the start of `serve`.
    if arguments == ["serve"]:
        from app.server import serve  # noqa: PLC0415

        serve(config)
        return 0

    from app.migrate import MigrationError, migrate  # noqa: PLC0415

    try:
        for line in migrate(config.database_url.get_secret_value()):
            print(line)
    except MigrationError as error:
        print(f"migration failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
