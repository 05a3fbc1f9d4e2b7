"""The API of backends: HelloJohn, Velt, June and the native family.

In: an API Gateway REST proxy event. Out: a proxy response, ``{"statusCode", "headers", "body"}``.
"""

from erasure.entry.wiring import handler_for

handler = handler_for("backend_api")
