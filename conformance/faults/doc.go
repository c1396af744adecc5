// Package faults sends the same spans through kumihimo, dd-trace-go and
// OpenTelemetry's OTLP exporter to an agent that fails in every way it knows,
// and writes docs/reliability.md from what arrived. It does so too with a
// metadata server and a Redis that fail.
//
// What was sent is what the agent has, not what a library says: the agent keeps
// the ids of the spans that it took.
//
// Read faults_test.go for the faults and the runs, agent_test.go for the agent,
// clients_test.go for the libraries, tokens_test.go and redis_test.go for the
// path of the token, report_test.go for the document.
package faults
