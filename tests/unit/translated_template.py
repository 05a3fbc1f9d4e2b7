"""template.yaml as CloudFormation sees it: translated by SAM's own translator, with the intrinsics worked out.

Resources get their logical id as a name: ``!GetAtt Audit.Arn`` is ``arn:aws:dynamodb:...:table/Audit``.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from samcli.yamlhelper import yaml_parse
from samtranslator.public.translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform

ROOT = Path(__file__).resolve().parent.parent.parent
PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::StackName": "erasure",
    "AWS::URLSuffix": "amazonaws.com",
}
_ARNS = {
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:eu-west-1:123456789012:table/{}",
    "AWS::SQS::Queue": "arn:aws:sqs:eu-west-1:123456789012:{}",
    "AWS::Lambda::Function": "arn:aws:lambda:eu-west-1:123456789012:function:{}",
    "AWS::Logs::LogGroup": "arn:aws:logs:eu-west-1:123456789012:log-group:{}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::SecretsManager::Secret": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:{}",
    "AWS::IAM::Role": "arn:aws:iam::123456789012:role/{}",
    "AWS::IAM::ManagedPolicy": "arn:aws:iam::123456789012:policy/{}",
    "AWS::StepFunctions::StateMachine": "arn:aws:states:eu-west-1:123456789012:stateMachine:{}",
    "AWS::Events::EventBus": "arn:aws:events:eu-west-1:123456789012:event-bus/{}",
    "AWS::Events::Rule": "arn:aws:events:eu-west-1:123456789012:rule/{}",
}
_REF_IS_ARN = {"AWS::SecretsManager::Secret", "AWS::StepFunctions::StateMachine", "AWS::IAM::ManagedPolicy"}
_DROPPED = object()


def source() -> dict[str, Any]:
    """The template as written."""
    return yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))


class _NoManagedPolicies(ManagedPolicyLoader):
    def __init__(self) -> None:
        super().__init__(None)

    def load(self) -> dict[str, str]:
        return {}


@functools.cache
def _translated() -> str:
    template = source()
    template.pop("Metadata")
    # The translator uploads nothing: `sam build` and `sam deploy` put addresses where the folders stand.
    for resource in template["Resources"].values():
        for name in ("CodeUri", "ContentUri", "DefinitionUri"):
            if name in resource["Properties"]:
                resource["Properties"][name] = "s3://bucket/key"
    with patch.dict(os.environ, {"AWS_DEFAULT_REGION": PSEUDO["AWS::Region"]}):
        return json.dumps(transform(template, {}, _NoManagedPolicies()))


def translated() -> dict[str, Any]:
    """The whole template after SAM's translation, intrinsics as they are."""
    template: dict[str, Any] = json.loads(_translated())
    return template


def resources(parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The resources that a deployment with these parameters creates, by logical id."""
    template = json.loads(_translated())
    values = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    values |= dict(parameters or {})
    for name, parameter in template["Parameters"].items():
        if parameter["Type"] == "CommaDelimitedList":
            values[name] = str(values[name]).split(",")
    evaluation = _Evaluation(template, values)
    return {
        name: {**resource, "Properties": evaluation.of(resource.get("Properties", {}))}
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or evaluation.condition(resource["Condition"])
    }


def of_type(found: Mapping[str, Any], type_name: str) -> dict[str, Any]:
    """Properties of the resources of one type, by logical id."""
    return {name: resource["Properties"] for name, resource in found.items() if resource["Type"] == type_name}


def statements(role: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The statements of a role's own policies, with ``Action`` and ``Resource`` always lists."""
    for policy in role.get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            yield {**statement, "Action": _listed(statement["Action"]), "Resource": _listed(statement["Resource"])}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


class _Evaluation:
    """Works out the intrinsics that the template uses; an unknown one is an error."""

    def __init__(self, template: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self._resources: dict[str, Any] = template["Resources"]
        self._conditions: dict[str, Any] = template["Conditions"]
        self._values = {**PSEUDO, **values}

    def of(self, value: Any) -> Any:
        if isinstance(value, list):
            return [item for item in map(self.of, value) if item is not _DROPPED]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            if name == "Ref" or name.startswith("Fn::"):
                return getattr(self, "_" + name.removeprefix("Fn::").lower())(argument)
        worked_out = {name: self.of(item) for name, item in value.items()}
        return {name: item for name, item in worked_out.items() if item is not _DROPPED}

    def condition(self, name: str) -> bool:
        return self._decide(self._conditions[name])

    def _decide(self, rule: Any) -> bool:
        (name, argument), *_ = rule.items()
        if name == "Condition":
            return self.condition(argument)
        if name == "Fn::Equals":
            left, right = self.of(argument)
            return str(left) == str(right)  # to CloudFormation a number is text
        decided = [self._decide(item) for item in argument]
        return {"Fn::And": all(decided), "Fn::Or": any(decided), "Fn::Not": not decided[0]}[name]

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _DROPPED
        if name in self._values:
            return self._values[name]
        kind = self._resources[name]["Type"]
        return self._arn(name) if kind in _REF_IS_ARN else name

    def _arn(self, name: str) -> str:
        return _ARNS[self._resources[name]["Type"]].format(name)

    def _getatt(self, argument: Any) -> str:
        name, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
        if attribute == "Arn" or (name, attribute) == ("DigestKey", "Id"):
            return self._arn(name)
        return f"{name}.{attribute}"

    def _sub(self, argument: Any) -> str:
        text, given = (argument, {}) if isinstance(argument, str) else (argument[0], self.of(argument[1]))

        def replaced(match: re.Match[str]) -> str:
            name = match.group(1)
            if name in given:
                return str(given[name])
            return str(self._getatt(name) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^}!]+)\}", replaced, text)

    def _join(self, argument: Any) -> str:
        return str(argument[0]).join(map(str, self.of(argument[1])))

    def _split(self, argument: Any) -> list[str]:
        return str(self.of(argument[1])).split(argument[0])

    def _if(self, argument: Any) -> Any:
        return self.of(argument[1] if self.condition(argument[0]) else argument[2])
