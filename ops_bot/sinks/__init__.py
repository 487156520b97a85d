"""Where events are told: Slack, Datadog, a metrics agent, and the page's own feed. One module each."""
