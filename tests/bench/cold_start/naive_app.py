"""The comparator of goal 1: what a tutorial's function looks like. Tracer, validating resolver, boto3."""

from typing import Any

import boto3
from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from pydantic import BaseModel

logger = Logger()
tracer = Tracer()
app = APIGatewayRestResolver(enable_validation=True)
dynamodb = boto3.client("dynamodb")
sqs = boto3.client("sqs")


class Body(BaseModel):
    delete_id: str


class Answer(BaseModel):
    status: str


@app.post("/users/current/confirm-delete")
@tracer.capture_method
def confirm(body: Body) -> Answer:
    dynamodb.put_item(
        TableName="Requests",
        Item={"pk": {"S": body.delete_id}},
        ConditionExpression="attribute_not_exists(pk)",
    )
    sqs.send_message(
        QueueUrl="https://sqs.us-east-1.amazonaws.com/123456789012/interactive", MessageBody=body.delete_id
    )
    return Answer(status="accepted")


@logger.inject_lambda_context
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return app.resolve(event, context)
