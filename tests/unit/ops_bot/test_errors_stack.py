"""Stacks of several languages: where they end, and what is in them."""

import pytest
from journal_lines import traceback

from ops_bot.errors.stack import Failure, Frame, begins, continues, parse

CHAIN = f"""\
{traceback()}

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/app/server.py", line 9, in healthz
    raise RuntimeError("unready") from error
RuntimeError: unready"""

GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "/srv/app/jobs.py", line 3, in run
  |     async with TaskGroup() as group:
  | ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/srv/app/jobs.py", line 9, in first
    |     raise KeyError("a")
    | KeyError: 'a'
    +---------------- 2 ----------------
    | Traceback (most recent call last):
    |   File "/srv/app/jobs.py", line 12, in second
    |     raise OSError(5)
    | OSError: 5
    +------------------------------------"""

RECURSION = """\
Traceback (most recent call last):
  File "/srv/app/tree.py", line 3, in walk
    walk(node.left)
  File "/srv/app/tree.py", line 3, in walk
    walk(node.left)
  [Previous line repeated 975 more times]
RecursionError: maximum recursion depth exceeded"""

SYNTAX = """\
Traceback (most recent call last):
  File "/srv/app/__main__.py", line 2, in <module>
    import pages
  File "/srv/app/pages.py", line 7
    def lesson(
              ^
SyntaxError: '(' was never closed"""

NODE = """\
TypeError: Cannot read properties of undefined (reading 'slug')
    at Lesson.render (/srv/app/lesson.js:41:17)
    at async Object.handle (/srv/app/node_modules/express/lib/router.js:284:7)
    at node:internal/process/task_queues:95:5"""

JAVA = """\
Exception in thread "main" java.lang.IllegalStateException: no lesson
\tat com.example.Pages.lesson(Pages.java:41)
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.sql.SQLException: connection closed
\tat com.example.Store.get(Store.java:9)
\t... 3 more"""

DOTNET = """\
Unhandled exception. System.InvalidOperationException: no lesson
   at App.Pages.Lesson(String slug) in /srv/app/Pages.cs:line 41
   at App.Program.Main()"""

GO = """\
panic: runtime error: index out of range [3] with length 3

goroutine 1 [running]:
main.lesson(0xc000012345, 0x3)
\t/srv/app/main.go:41 +0x1d
main.main()
\t/srv/app/main.go:9 +0x25
exit status 2"""


def summary(failures: list[Failure]) -> list[tuple[str, str, list[str]]]:
    return [(one.type, one.message, [frame.function for frame in one.frames if frame.in_app]) for one in failures]


ALL = {
    "python": (traceback(), [("ValueError", "no such lesson: tides", ["lesson", "render"])]),
    "chain": (
        CHAIN,
        [("ValueError", "no such lesson: tides", ["lesson", "render"]), ("RuntimeError", "unready", ["healthz"])],
    ),
    "group": (
        GROUP,
        [
            ("ExceptionGroup", "unhandled errors in a TaskGroup (2 sub-exceptions)", ["run"]),
            ("KeyError", "'a'", ["first"]),
            ("OSError", "5", ["second"]),
        ],
    ),
    "recursion": (RECURSION, [("RecursionError", "maximum recursion depth exceeded", ["walk"])]),
    "syntax": (SYNTAX, [("SyntaxError", "'(' was never closed", ["<module>", ""])]),
    "node": (NODE, [("TypeError", "Cannot read properties of undefined (reading 'slug')", ["Lesson.render"])]),
    "java": (
        JAVA,
        [
            ("java.lang.IllegalStateException", "no lesson", ["com.example.Pages.lesson"]),
            ("java.sql.SQLException", "connection closed", ["com.example.Store.get"]),
        ],
    ),
    "dotnet": (
        DOTNET,
        [("System.InvalidOperationException", "no lesson", ["App.Program.Main", "App.Pages.Lesson"])],
    ),
    "go": (GO, [("panic", "runtime error: index out of range [3] with length 3", ["main.main", "main.lesson"])]),
}


@pytest.mark.parametrize("name", ALL)
def test_exceptions_and_the_applications_frames(name: str) -> None:
    text, expected = ALL[name]
    assert summary(parse(text)) == expected


@pytest.mark.parametrize("name", ALL)
def test_every_line_of_a_stack_belongs_to_it_and_the_next_one_does_not(name: str) -> None:
    lines = ALL[name][0].splitlines()
    assert begins(lines[0])
    for number in range(1, len(lines)):
        assert continues(lines[:number], lines[number]), lines[number]
    assert not continues(lines, "INFO: next request")
    assert not continues(lines, '{"level": "info"}')


@pytest.mark.parametrize("line", ["", "all is well", "Traceback is a nice word", "  at home", "KeyError is a class"])
def test_ordinary_lines_begin_no_stack(line: str) -> None:
    assert not begins(line)
    assert parse(line) == []


@pytest.mark.parametrize(
    ("file", "in_app"),
    [
        ("/srv/app/pages.py", True),
        ("app/pages.py", True),
        ("/usr/local/lib/python3.12/site-packages/starlette/routing.py", False),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", False),
        ("/usr/lib/python3.11/asyncio/base_events.py", False),
        ("/opt/venv/lib/python3.11/site-packages/x.py", False),
        ("<frozen importlib._bootstrap>", False),
        ("/srv/app/node_modules/express/index.js", False),
        ("node:internal/process/task_queues", False),
        ("/usr/local/go/src/runtime/panic.go", False),
    ],
)
def test_which_frames_are_the_applications(file: str, in_app: bool) -> None:
    assert Frame(file, "f").in_app is in_app


def test_a_stack_that_was_cut_is_still_one() -> None:
    assert summary(parse("\n".join(traceback().splitlines()[:3]))) == [("", "", ["lesson"])]
