"""Writes provider.json: the arguments of each Terraform resource that
deploy/terraform uses, as version 6.50.0 of the provider hashicorp/google has
them.

    npm pack @cdktf/provider-google@16.12.1 && tar xzf cdktf-provider-google-16.12.1.tgz
    python3 provider.py package > provider.json

The npm package is generated from the provider's schema. Of a block "single"
says that there is one at most; "computed" are the attributes that can only be
read.
"""

import json
import os
import re
import sys

RESOURCES = {
    "google_project_service": "project-service",
    "google_service_account": "service-account",
    "google_service_account_iam_member": "service-account-iam-member",
    "google_project_iam_member": "project-iam-member",
    "google_secret_manager_secret": "secret-manager-secret",
    "google_secret_manager_secret_version": "secret-manager-secret-version",
    "google_secret_manager_secret_iam_member": "secret-manager-secret-iam-member",
    "google_cloud_run_v2_service": "cloud-run-v2-service",
    "google_cloud_run_v2_service_iam_member": "cloud-run-v2-service-iam-member",
    "google_cloud_run_v2_job": "cloud-run-v2-job",
    "google_redis_instance": "redis-instance",
    "google_logging_project_sink": "logging-project-sink",
    "google_pubsub_topic": "pubsub-topic",
    "google_pubsub_topic_iam_member": "pubsub-topic-iam-member",
    "google_pubsub_subscription": "pubsub-subscription",
    "google_pubsub_subscription_iam_member": "pubsub-subscription-iam-member",
    "google_storage_bucket": "storage-bucket",
    "google_storage_bucket_iam_member": "storage-bucket-iam-member",
    "google_dataflow_job": "dataflow-job",
}

FIELD = re.compile(r"^        (?:    )?(\w+): \{\n\s+value: (.*),\n\s+isBlock: (true|false),\n\s+type: \"\w+\",\n\s+storageClassType: \"(\w+)\"", re.M)
PROPERTY = re.compile(r"^    readonly (\w+)(\??): ", re.M)


def camel(name):
    head, *tail = name.split("_")
    return head + "".join(w.capitalize() for w in tail)


class Resource:
    def __init__(self, folder):
        with open(os.path.join(folder, "index.js")) as f:
            self.js = f.read()
        with open(os.path.join(folder, "index.d.ts")) as f:
            self.ts = f.read()

    def required(self, interface):
        body = re.search(r"^export interface %s (?:extends [\w.]+ )?\{\n(.*?)^\}" % interface, self.ts, re.M | re.S).group(1)
        return {name: mark == "" for name, mark in PROPERTY.findall(body)}

    def fields(self, text, interface):
        required = self.required(interface)
        attributes, blocks = {}, {}
        for name, value, block, kind in FIELD.findall(text):
            must = required.get(camel(name), required.get(name, False))
            if block == "false":
                attributes[name] = {"required": must, "type": kind}
                continue
            function = re.search(r"(\w+)ToHclTerraform", value).group(1)
            b = self.block(function)
            b["single"] = "MapperHcl" not in value
            b["required"] = must
            blocks[name] = b
        return {"attributes": attributes, "blocks": blocks}

    def block(self, function):
        body = re.search(r"^function %sToHclTerraform\(struct\) \{\n(.*?)^\}" % function, self.js, re.M | re.S).group(1)
        return self.fields(body, function[0].upper() + function[1:])

    def all(self):
        body = self.js[self.js.index("synthesizeHclAttributes() {"):]
        name = re.search(r"^export interface (\w+Config) extends", self.ts, re.M).group(1)
        schema = self.fields(body, name)
        settable = set(schema["attributes"]) | set(schema["blocks"])
        last = self.js[self.js.rindex("extends cdktf.TerraformResource"):]
        read = re.findall(r"    // (\w+) - computed: true, optional: false, required: false", last)
        schema["computed"] = sorted(set(read) - settable)
        return schema


lib = os.path.join(sys.argv[1], "lib")
json.dump({n: Resource(os.path.join(lib, d)).all() for n, d in RESOURCES.items()}, sys.stdout, indent=1, sort_keys=True)
print()
