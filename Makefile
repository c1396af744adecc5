# Everything here is one line away from the go command; CI runs .ci/run.
GOLANGCI_LINT ?= github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: test lint bench conformance docs ci

test:
	go test -race ./...
	cd obs/gcpauth/adc && go test -race ./...
	cd obs/otlp && go test -race ./...

lint:
	test -z "$$(gofmt -l .)"
	go vet ./...
	go run $(GOLANGCI_LINT) run ./...

# Writes docs/benchmarks.md and the README's table. Takes about ten minutes of a machine that does nothing else.
bench:
	cd benchmarks && go test -count=1 -run='^Test(Ratios|Wire|Footprint|Endurance)$$' -v -timeout=60m . -ratios -rounds 40 -endurance -update

conformance:
	cd conformance && go test -race ./...

# Tries every block of code and every command in the documents; -update copies code that they quote.
docs:
	cd docs/blocks && go test -count=1 -v ./...

ci:
	.ci/run
