"""Watch and spoil the calls of a DynamoDB client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError


class HookedClient:
    """A client whose calls a test can watch, answer or spoil.

    ``hooks[operation]`` is called as ``hook(call, **arguments)`` instead of the operation, where ``call(**arguments)``
    is the real one. ``calls`` lists operation and arguments of everything that was asked.
    """

    def __init__(self, client: Any, **hooks: Callable[..., Any]) -> None:
        self._client = client
        self._hooks = hooks
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        real = getattr(self._client, operation)

        def call(**arguments: Any) -> Any:
            self.calls.append((operation, arguments))
            hook = self._hooks.get(operation)
            return real(**arguments) if hook is None else hook(real, **arguments)

        return call

    def count(self, operation: str) -> int:
        return sum(1 for name, _ in self.calls if name == operation)


def client_error(code: str, status: int = 400, message: str = "about table secret-table and person secret-id") -> Any:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Operation")
