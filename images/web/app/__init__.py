"""The front of the learning platform: lessons that live in PostgreSQL, as web pages."""
