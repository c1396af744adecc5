// Package deploy has the code of docs/cloud-run.md, and the tests that run what
// docs/cloud-run.md, docs/datadog.md and deploy/terraform tell a reader to run:
// the commands in a shell whose gcloud notes what it is called with, the module
// under Terraform with a stand-in for the provider, and what both configure in
// front of the emulator.
//
//	go test ./deploy -update                        writes outputs and tables into the documents
//	python3 deploy/testdata/gcloud.py               prints testdata/gcloud.json; needs a Google Cloud SDK
//	python3 deploy/testdata/provider.py PACKAGE     prints testdata/provider.json; needs an npm package
package deploy
