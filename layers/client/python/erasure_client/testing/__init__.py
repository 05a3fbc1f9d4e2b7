"""The service in memory, for the tests of an application that calls it.

>>> from erasure_client.testing import FakeService
>>> service = FakeService()
>>> ann = service.add_user("ann", documents=3)
>>> client = service.client()

Nothing is erased while somebody waits for an answer, here as there. The fake works when it is told to: on everything,
on one request, or always at once with ``FakeService(auto_finish=True)``.

>>> request = client.requests.create("ann").request
>>> request.state, ann.things
('requested', {'accounts': 1, 'documents': 3})
>>> service.run() == [request.id]
True
>>> client.requests.get(request.id).is_complete, ann.things, service.erased("ann")
(True, {}, True)

What goes wrong in life goes wrong when a test says so: ``fail`` and ``mend`` a target, ``retain`` things, ``hold``
somebody, let the next calls be refused (``refuse_next``) or their answers get lost (``lose_next_answer``), and let time
pass (``advance``).

>>> from datetime import timedelta
>>> service.fail("documents", reason="access_denied")
>>> bob = service.add_user("bob", documents=1, sessions=2)
>>> request = client.requests.create("bob", not_before=service.now() + timedelta(days=7)).request
>>> service.run()
[]
>>> service.advance(timedelta(days=7))
>>> service.finish(request.id)
>>> [(target.name, target.reason) for target in client.requests.get(request.id).failed]
[('documents', 'access_denied')]
>>> bob.things, service.erased("bob")
({'documents': 1}, False)

People have tokens, which this fake alone knows:

>>> eve = service.add_user("eve", preferences=1)
>>> person = service.client(token=service.token("eve"))
>>> delete_id = person.request_current_user_deletion()

``calls`` is what was called, with the idempotency keys and without any id:

>>> service.calls[0].method, service.calls[0].path, service.calls[0].status
('POST', '/v1/erasure-requests', 202)

The fake refuses what the service refuses, in the same words; the tests of this package send the same calls to both. It
does not have: the routes of Velt and June, whose callers have clients of their own; a tenant's grace; what the service
does days after a request has ended (looking again, taking up what had to stay), and that it gives up trying after days;
tables that are scanned, things that lead to others, further identifiers; warnings about data maps, and rules of theirs
that are not about keys, names, categories, kinds and placeholders.
"""

from erasure_client.testing._maps import EXAMPLE_MAP
from erasure_client.testing._records import FakeUser
from erasure_client.testing._service import FakeCall, FakeService

__all__ = ["EXAMPLE_MAP", "FakeCall", "FakeService", "FakeUser"]
