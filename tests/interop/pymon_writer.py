"""Writes a pytest-monitor database with the plugin's own code; run by the Python that has the plugin. JSON comes in."""

import json
import sys
from types import SimpleNamespace

from pytest_monitor.handler import DBHandler


def main() -> None:
    wanted = json.load(sys.stdin)
    handler = DBHandler(wanted["path"])
    for document in wanted["contexts"]:
        names = {"fqdn": "machine_node", "machine": "machine_type", "architecture": "machine_arch"}
        context = SimpleNamespace(**document, **{name: document[sent] for name, sent in names.items()})
        context.hash = lambda h=document["h"]: h
        handler.insert_execution_context(context)
    for document in wanted["sessions"]:
        description = json.dumps(document["description"])
        handler.insert_session(document["session_h"], document["run_date"], document["scm_ref"], description)
    for document in wanted["metrics"]:
        sent = {"session_id": "session_h", "env_id": "context_h", "item_start_date": "item_start_time"}
        values = {name: document.pop(key) for name, key in sent.items()}
        handler.insert_metric(**values, item_loc=document.pop("item_fs_loc"), **document)
    json.dump("written", sys.stdout)


main()
