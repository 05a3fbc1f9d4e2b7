"""What AWS charges, and what an erasure's counts come to.

List prices of us-east-1, on demand, beyond free tiers, as remembered in 2025 and not looked up since. Sources to check
them against: the pricing pages of the services (aws.amazon.com/<service>/pricing).
"""

from __future__ import annotations

from collections.abc import Mapping

PRICES_AS_OF = "2025"
PRICES: Mapping[str, float] = {
    # dollars for one
    "write units": 0.625 / 1e6,  # dynamodb, standard class
    "read units": 0.125 / 1e6,
    "lists": 0.005 / 1e3,  # s3, standard; deletions are free
    "transitions": 0.025 / 1e3,  # step functions, standard workflows
    "function calls": 0.20 / 1e6,  # lambda
    "GB-seconds": 0.0000133334,  # lambda, arm64
    "API calls": 3.50 / 1e6,  # api gateway, REST
    "queue calls": 0.40 / 1e6,  # sqs, standard
    "log GB": 0.50,  # cloudwatch logs, ingestion
}

Counts = Mapping[str, float]

IRREDUCIBLE: Counts = {"write units": 200, "read units": 25, "lists": 3}
"""Of the typical erasure: nobody can delete 200 items and three prefixes for less, nor find them (200 KB, eventually
consistent). Deleting objects is free."""


def dollars_a_million(counts: Counts) -> dict[str, float]:
    """By what is charged, for a million erasures of these counts each."""
    return {name: 1e6 * PRICES[name] * count for name, count in counts.items()}
