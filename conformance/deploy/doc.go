// Package deploy has the code of docs/cloud-run.md, and the tests that run what
// docs/cloud-run.md, docs/datadog.md and deploy/terraform tell a reader to run:
// the commands in a shell whose gcloud notes what it is called with, and what
// they configure in front of the emulator.
package deploy
