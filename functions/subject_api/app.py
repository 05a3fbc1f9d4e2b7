"""The API of the data subject.

In: an API Gateway REST proxy event. Out: a proxy response, ``{"statusCode", "headers", "body"}``.
"""

from erasure.entry.wiring import handler_for

handler = handler_for("subject_api")
