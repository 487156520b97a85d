"""Errors: what the journals of all hosts tell, made into groups that people can act on.

journal entries ─► `journal` (one entry) ─► `assemble` (occurrences of errors) ─► `fingerprint` (which group)
─► `groups` (what state it is in now) ─► `store` (kept, with the cursor, in one transaction) ─► events
"""
