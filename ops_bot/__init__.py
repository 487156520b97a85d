"""The ops bot: every build, deploy, rollback and error, recorded once and told once."""
