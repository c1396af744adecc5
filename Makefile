# Everything here is one line away from the go command; CI runs .ci/run.
GOLANGCI_LINT ?= github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: test lint bench conformance ci

test:
	go test -race ./...
	cd obs/gcpauth/adc && go test -race ./...

lint:
	test -z "$$(gofmt -l .)"
	go vet ./...
	go run $(GOLANGCI_LINT) run ./...

bench:
	cd benchmarks && go test -run='^$$' -bench=. -benchmem ./...

conformance:
	cd conformance && go test -race ./...

ci:
	.ci/run
