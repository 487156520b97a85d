"""first lessons"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TABLE = sa.table(
    "lessons",
    sa.column("slug", sa.Text),
    sa.column("title", sa.Text),
    sa.column("summary", sa.Text),
    sa.column("body", sa.Text),
    sa.column("minutes", sa.Integer),
    sa.column("position", sa.Integer),
)
LESSONS = [
    {
        "slug": "ask-a-better-question",
        "title": "Ask a better question",
        "summary": "Say what you want, what you tried and what you saw, and help comes quickly.",
        "minutes": 4,
        "body": (
            "A good question saves two people an afternoon. Begin with what you want to reach, not with the step "
            "you are stuck on: often there is a shorter way, and only somebody who knows the goal can show it.\n\n"
            'Then say what you tried and what happened, word for word. "It does not work" hides the one line '
            "that would have told a reader everything.\n\n"
            "Last, make it small. Take away whatever can go while the trouble stays. Half of all questions answer "
            "themselves on the way."
        ),
    },
    {
        "slug": "fractions-on-a-ruler",
        "title": "Fractions on a ruler",
        "summary": "Why a third and a quarter cannot be added until they are cut alike.",
        "minutes": 6,
        "body": (
            "Lay a ruler on the table and mark a quarter of it. Beside it mark a third. Which numbers would you "
            "read off if you put one behind the other?\n\n"
            "Neither mark helps to read the other: they are cut differently. Cut the ruler into twelve and both "
            "fit, a third is four parts and a quarter is three. Seven parts of twelve.\n\n"
            "That is all a common denominator is: a cut fine enough for both."
        ),
    },
    {
        "slug": "remember-by-forgetting",
        "title": "Remember by forgetting",
        "summary": "A short pause before each repetition does more than a long evening.",
        "minutes": 5,
        "body": (
            "Reading a page five times in a row feels like learning. A day later little is left, because nothing "
            "had to be recalled: it was still there.\n\n"
            "Wait until it is nearly gone, then bring it back without looking. That effort is what makes memory "
            "last. A day, three days, a week, a month: four short visits beat one long one.\n\n"
            "So close this page now, and tell somebody tomorrow what it said."
        ),
    },
]


def upgrade() -> None:
    op.bulk_insert(TABLE, [{**lesson, "position": position} for position, lesson in enumerate(LESSONS, start=1)])
