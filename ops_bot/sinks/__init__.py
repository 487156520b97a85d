"""Where events are told: Slack, Datadog, a metrics agent. One module each, and what they have in common."""
