"""The AWS side of the ports: stores, queue, workflow, secrets, sessions."""
