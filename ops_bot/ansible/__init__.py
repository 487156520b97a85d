"""How playbooks report: a callback for Ansible, which keeps every event on disk before it is sent anywhere."""
