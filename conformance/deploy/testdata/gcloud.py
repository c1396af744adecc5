"""Writes gcloud.json: the flags of each gcloud command that the docs use.

    python3 gcloud.py > gcloud.json

It needs a Google Cloud SDK, and reads the tree that the SDK completes command
lines by. A flag's value is "bool", "value", or the list of its choices.
"""

import json
import os
import shutil
import sys

COMMANDS = """
auth print-identity-token
billing projects link
config set
dataflow jobs run
iam service-accounts create
logging read
logging sinks create
logging sinks describe
projects add-iam-policy-binding
projects create
pubsub subscriptions create
pubsub subscriptions add-iam-policy-binding
pubsub topics add-iam-policy-binding
pubsub topics create
redis instances create
redis instances describe
redis instances get-auth-string
run deploy
run jobs deploy
run services add-iam-policy-binding
run services describe
run services logs read
run services update
secrets add-iam-policy-binding
secrets create
secrets versions add
services enable
storage buckets add-iam-policy-binding
storage buckets create
""".split("\n")[1:-1]

sdk = os.path.dirname(os.path.dirname(os.path.realpath(shutil.which("gcloud"))))
sys.path.insert(0, os.path.join(sdk, "data", "cli"))
from gcloud_completions import STATIC_COMPLETION_CLI_TREE as tree  # noqa: E402


def node(command):
    n = tree
    for word in command.split():
        n = n["commands"][word]
    return n


def flags(n):
    return {k: "value" if v == "dynamic" else v for k, v in sorted(n["flags"].items())}


with open(os.path.join(sdk, "VERSION")) as f:
    version = f.read().strip()
json.dump(
    {"sdk": version, "everywhere": flags(tree), "commands": {c: flags(node(c)) for c in COMMANDS}},
    sys.stdout,
    indent=1,
    sort_keys=True,
)
print()
