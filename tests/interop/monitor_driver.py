"""Calls monitor_api.Monitor; run by the Python that has it. JSON on both sides: which calls, and what each gave.

A call is `{"name": ..., "method": ..., "arguments": {...}}`. Two kinds of argument are not plain:
`{"member": "ResourceType.CPU"}` is a member of an enumeration, and `{"given_by": NAME}` is what an earlier call gave.
"""

import datetime
import json
import sys

import monitor_api


def main() -> None:
    wanted = json.load(sys.stdin)
    monitor = monitor_api.Monitor(wanted["url"], **{name: frozen(value) for name, value in wanted["options"].items()})
    given = {}
    for call in wanted["calls"]:
        arguments = {name: argument(value, given) for name, value in call["arguments"].items()}
        given[call["name"]] = getattr(monitor, call["method"])(**arguments)
    public = [name for name in dir(monitor_api.Monitor) if not name.startswith("_")]
    json.dump({"public": public, "given": {name: plain(value) for name, value in given.items()}}, sys.stdout)


def frozen(value):
    """requests takes the name and the password as a tuple only."""
    return tuple(value) if isinstance(value, list) else value


def argument(value, given):
    if isinstance(value, dict) and "member" in value:
        enumeration, member = value["member"].split(".")
        return getattr(monitor_api, enumeration)[member]
    if isinstance(value, dict) and "given_by" in value:
        return given[value["given_by"]]
    return value


def plain(value):
    if isinstance(value, monitor_api.Metrics):
        return [plain(metric) for metric in value]
    if isinstance(value, (monitor_api.Sessions, monitor_api.Contexts)):
        return [[key, plain(entity)] for key, entity in value.items()]
    if isinstance(value, (monitor_api.Metric, monitor_api.Session, monitor_api.Context)):
        return {name: plain(field) for name, field in value.to_dict().items()}
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return value


main()
