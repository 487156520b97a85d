"""The page's own feed, which stands in for Slack while there is no token: what is recorded is shown at once."""

from datetime import datetime

from ops_bot.sinks.base import Absent, Job, Sent


class Feed:
    """Nothing is sent anywhere: the page renders the same messages from the ledger."""

    name = "feed"
    doubt_seconds = 0.0

    def wait_seconds(self, _delivery: object, _now: datetime) -> float:
        """No pace: nobody is disturbed."""
        return 0.0

    def reconcile(self, _job: Job, _now: datetime) -> Absent:
        """Nothing is in doubt where nothing is sent."""
        return Absent()

    def deliver(self, _job: Job, now: datetime) -> Sent:
        """It is on the page."""
        return Sent({"at": now.isoformat()})
