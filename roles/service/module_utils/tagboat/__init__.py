"""What runs on a host during a rollout. Standard library only, Python 3.8+: hosts bring nothing else."""
