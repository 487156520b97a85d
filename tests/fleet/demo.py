"""`make demo`: the main job on the embedded fleet, told step by step."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time

from fleet import ROOT, Fleet, Run, Source

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code: str, text: str) -> str:
    """Colour a text, on a terminal only."""
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def show(line: str) -> None:
    """Print a line of a playbook's digest."""
    width = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 200
    print(paint("2", f"    {line}"[:width]), flush=True)


class Story:
    """Runs the steps, times them, and stops at the first that does not go as it should."""

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.fleet = Fleet(os.environ.get("LAB_NAME") or "local", ROOT / "reports" / "demo", show)

    def tell(self, text: str) -> None:
        """Say what comes now."""
        print(f"\n{paint('1', f'[{time.monotonic() - self.begin:5.0f} s] {text}')}", flush=True)

    def do(self, playbook: str, fails: bool = False, **extra: str) -> Run:
        """Run a playbook that must succeed, or with `fails`, must not; end the demo when it is the other way round."""
        shown = [f"playbooks/{playbook}.yml", *(f"-e {name}={value}" for name, value in extra.items())]
        print(paint("36", f"  $ ansible-playbook {' '.join(shown)}"), flush=True)
        run = self.fleet.play(playbook, **extra)
        mark = paint("32", "done") if run.ok else paint("33" if fails else "31", f"exit code {run.code}")
        print(f"  {mark} in {run.seconds:.1f} s", flush=True)
        if run.ok == fails:
            print(run.output[-4000:] if not run.ok else "This was expected to fail, and did not.")
            sys.exit(f"The demo stopped. The full output is in {self.fleet.reports.relative_to(ROOT)}/")
        return run

    def serving(self) -> None:
        """Show which release answers on each host and through the balancer."""
        for host, tag in self.fleet.serving().items():
            print(f"  {host:9} serves {paint('32', tag)}")
        status, body = self.fleet.get("/")
        heading = re.search(r"<h1>(.*)</h1>", body)
        print(f"  balancer  answers {status}: {heading[1] if heading else body[:60]}", flush=True)

    def told(self) -> None:
        """Show what the ops bot knows of it, when it has been told everything."""
        self.tell("What the ops bot knows of it")
        deadline = time.monotonic() + 30
        while True:
            history = self.fleet.ops_bot("history --limit 12")
            if "rolled back" in history.lower() or "rollback" in history.lower() or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        for line in history.splitlines():
            show(line)


def main() -> None:
    """Play the story."""
    story = Story()
    story.tell("Create the fleet: containers with systemd and sshd, from the inventory")
    story.do("lab")
    story.tell("Provision it: registry, engines, databases, edges, balancer, firewalls")
    story.do("site")
    source = Source(story.fleet.folder / "source")
    source.reset()
    at = str(source.folder.relative_to(ROOT))

    story.tell("Build the ops bot and web on the build server, push them; deploy the bot, which tells what follows")
    build = story.do("build", image="web,ops_bot", image_source_dir=at)
    story.do("deploy", service="ops_bot", tag=built(build, "ops_bot"), watch="background")

    story.tell("1. Deploy web; it is watched in the background, and goes back by itself if it gets worse")
    first = built(build)
    story.do("deploy", service="web", tag=first, watch="background")
    story.serving()

    story.tell("2. Change the app, build, deploy: nobody notices but for the new heading")
    source.new_heading("What would you like to learn today?")
    second = built(story.do("build", image="web", image_source_dir=at))
    story.do("deploy", service="web", tag=second, watch="background")
    story.serving()

    story.tell("3. Build a release that never becomes healthy: the hosts refuse it, the old one serves on")
    source.never_healthy()
    third = built(story.do("build", image="web", image_source_dir=at))
    story.do("deploy", fails=True, service="web", tag=third)
    story.serving()

    story.tell(f"4. Roll back to {first}")
    story.do("rollback", service="web", tag=first)
    story.serving()
    story.do("status")
    story.told()

    url = story.fleet.url
    bot, password = story.fleet.page()
    print(
        f"""
{paint("1", f"That took {time.monotonic() - story.begin:.0f} s. {first} serves at {url}")}
{paint("1", f"What happened is told at {bot}")}  (user ops, password {password};
your browser asks whether you trust it: .lab/{story.fleet.name}/pki/ca.pem signed its certificate)

Try next:
  make status                             what runs where, and its history
  make deploy SERVICE=web TAG={second:<12} forward again: {second} was left by a rollback, so add FORCE=1
  make deploy SERVICE=web TAG={third:<12} refused: the tag is marked bad
  make rollback SERVICE=web               back to the last good release
  make ssh HOST=web1                      look around on a host
  make lab-down                           remove every trace"""
    )


def built(run: Run, image: str = "web") -> str:
    """Read the tag from a build's last line."""
    tags = re.findall(rf"\b{image} (v\d+) sha256:", run.output)
    if not tags:
        sys.exit("the build did not say which tag it made")
    return str(tags[-1])


if __name__ == "__main__":
    main()
