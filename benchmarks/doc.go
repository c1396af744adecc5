// Package benchmarks measures kumihimo beside what a service would use in its
// place, on the same work, in the same run: ratios hold across machines, times
// do not.
//
// Read workload_test.go first: it says what a record, a request and a span
// are. Each of record_test.go, request_test.go and span_test.go then has one
// benchmark, whose sub-benchmarks are the peers, and a test that the peers do
// the same work; propagation_test.go has the headers of a trace and the
// sampler. latency_test.go shows what a broken agent does to a request,
// footprint_test.go what a program weighs, wire_test.go what a span weighs.
// ratios_test.go compares them all in interleaved rounds, and report_test.go
// writes what it found into the documents.
//
// Run one with
//
//	go test -run='^$' -bench=Record -benchmem -cpu=1 .
package benchmarks
