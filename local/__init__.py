"""The whole service on one machine: emulator, token issuer, build, deploy, sample data, demo.

Nothing here runs on AWS. ``make help`` lists the commands; ``python -m local`` is behind them.
"""
