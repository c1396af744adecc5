// Package idtokens runs gcpauth beside Google's two libraries for ID tokens,
// three virtual hours against one metadata server with the same faults, and
// through go-redis with its tracing on. It is a package of its own because
// compute/metadata decides once a process whether it is on Google Cloud.
//
// Read simulation_test.go for the clients and the table, issuer_test.go for the
// metadata server and the front end.
package idtokens
