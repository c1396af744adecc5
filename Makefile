# Everything here is one line away from the go command; CI runs .ci/run.
GOLANGCI_LINT ?= github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
CYCLONEDX ?= github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
GOVULNCHECK ?= golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: test lint bench conformance docs api sbom vuln notes ci

test:
	go test -race ./...
	cd obs/gcpauth/adc && go test -race ./...
	cd obs/otlp && go test -race ./...

lint:
	test -z "$$(gofmt -l .)"
	go vet ./...
	go run $(GOLANGCI_LINT) run ./...

# Writes docs/benchmarks.md, the table of docs/requests.md and the README's table. Takes about four minutes of a machine that does nothing else.
bench:
	cd benchmarks && go test -count=1 -run='^Test(Ratios|Wire|Footprint|Endurance|Behaviour|Load)$$' -v -timeout=60m . -ratios -rounds 80 -endurance -load -update

# Writes docs/reliability.md: every fault with every exporter, in real time. Takes about three minutes.
reliability:
	cd conformance && go test -count=1 -p=1 -v -timeout=20m -run='^(TestThreeHours|TestUpdate|TestMetadataFaults|TestRedisFaults)$$' ./idtokens ./faults -update

conformance:
	cd conformance && go test -race ./...

# Tries every block of code and every command in the documents; -update copies code that they quote.
docs:
	cd docs/blocks && go test -count=1 -v ./...

# Writes api/*.txt, the lists of what packages export, after a change that is meant.
api:
	go test ./internal/archtest -count=1 -run='^TestAPI$$' -update

# Writes kumihimo.cdx.json, the modules and licences of the root module, as CycloneDX.
SBOM ?= kumihimo.cdx.json
sbom:
	go run $(CYCLONEDX) mod -type library -licenses -json -output $(SBOM) .

# Asks vuln.go.dev, so it is a workflow of its own and no part of ci.
vuln:
	go run $(GOVULNCHECK) ./...
	cd obs/gcpauth/adc && go run $(GOVULNCHECK) ./...
	cd obs/otlp && go run $(GOVULNCHECK) ./...

# Prints what CHANGELOG.md says of VERSION, and fails if that is nothing.
notes:
	@awk -v head="## [$(patsubst v%,%,$(VERSION))]" 'index($$0, "## [") == 1 { on = index($$0, head) == 1; next } \
		on { print; if (NF) n++ } END { exit !n }' CHANGELOG.md

ci:
	.ci/run
