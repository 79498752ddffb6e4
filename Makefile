# make test is what has to pass. It runs as root or as an ordinary user; root on
# Debian gets the programs that tests compare with installed.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

# An older go command fetches the one that go.mod asks for.
export GOTOOLCHAIN ?= auto

STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 30s
SOAKBYTES   ?= 1073741824
SOAKCOUNT   ?= 30

.PHONY: build test programs fmt vet lint unit race soak fuzz bench bench-quick demo clean

## build: bin/towpath, static
build:
	CGO_ENABLED=0 go build -trimpath -o bin/towpath ./cmd/towpath

## test: everything that has to pass
test: programs fmt vet lint unit race

# Programs that tests compare with. Where they cannot be had, tests say so and
# are skipped.
programs:
	@.ci/need tcpdump curl python3 ping ip ss ifconfig netstat traceroute tracepath sysctl gcc nc wget socat nginx haproxy redis-server redis-cli memcached iperf3 git dig qemu-aarch64-static || true

fmt:
	@bad=$$(gofmt -l .); test -z "$$bad" || { echo "not formatted by gofmt:" $$bad; exit 1; }

vet:
	go vet ./...
	GOOS=darwin go vet ./cmd/... ./host
	GOOS=windows go vet ./cmd/... ./host
	cd bench && go vet ./...

lint:
	$(STATICCHECK) ./...

unit:
	go test -count=1 -v -timeout 10m ./... | .ci/report

# The race detector needs a C compiler.
race:
	@if command -v gcc >/dev/null; then \
		echo "go test -race ./..."; \
		CGO_ENABLED=1 go test -count=1 -race -v -timeout 15m ./... | .ci/report; \
	else \
		echo "SKIP race: there is no gcc"; \
	fi

## soak: streams of gigabytes and many repetitions, under the race detector
soak:
	go test -race -timeout 4h -run Stream ./host -soak.bytes $(SOAKBYTES)
	go test -race -timeout 4h -count $(SOAKCOUNT) ./clock ./link/... ./tcp/... ./host ./capture/... ./lab

## fuzz: every fuzz target, FUZZTIME each
fuzz:
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "fuzz $$pkg $$target $(FUZZTIME)"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

## bench: towpath beside its peers; see docs/performance.md
bench:
	cd bench && go run ./cmd/bench

bench-quick:
	cd bench && go run ./cmd/bench -rounds 3 -time 100ms

## demo: a lab with real programs, and its captures
demo: build
	@.ci/need curl python3 ping tcpdump
	@.ci/demo bin/towpath

clean:
	rm -rf bin
