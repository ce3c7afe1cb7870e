# What a developer and CI run. `make check` runs all checks.

FUZZTIME ?= 10s
SEEDS    ?= 3000
TAGS     ?=
FROM     ?= 0
TOOL      = go tool -modfile=tools.mod
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE     ?= $(shell git log -1 --format=%cI 2>/dev/null)
LDFLAGS   = -s -w -X fleetctl/cmd.version=$(VERSION) -X fleetctl/cmd.commit=$(COMMIT) -X fleetctl/cmd.date=$(DATE)

.DEFAULT_GOAL := help
.PHONY: help check lint format vet cross fix staticcheck race test chaos mutants picture demo bench perf soak fuzz build bin/share install uninstall release-check clean

# Where `make install` writes: DESTDIR is put before every path, for packagers.
PREFIX   ?= /usr/local
DESTDIR  ?=
BINDIR   ?= $(PREFIX)/bin
SHAREDIR ?= $(PREFIX)/share
# The names of the program. NAMES=choria-fleetctl leaves the name fleetctl to another program.
NAMES    ?= fleetctl choria-fleetctl
FIRST     = $(firstword $(NAMES))
comma    := ,
empty    :=
space    := $(empty) $(empty)
SOURCES  := go.mod go.sum $(shell find *.go batch cmd discovery internal inventory rpcclient -type f ! -name '*_test.go' ! -path '*/testdata/*')

help: ## Show the targets, and what each does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

check: lint test race ## All checks: format, vet, fix, staticcheck, tests without and with the race detector

lint: format vet cross fix staticcheck ## The checks that run no test

format: ## No file needs gofmt
	@dated=$$(gofmt -l .); \
	if [ -n "$$dated" ]; then echo "gofmt -w these:"; echo "$$dated"; exit 1; fi

vet: ## go vet
	go vet ./... ./.ci/floor

cross: ## go vet for the systems that are built and not run here: Windows and macOS
	GOOS=windows go vet ./...
	GOOS=darwin go vet ./...

fix: ## No line is written in an older Go than it needs
	go fix -diff ./...

staticcheck: ## staticcheck, from tools.mod
	$(TOOL) staticcheck ./... ./.ci/floor
	$(TOOL) staticcheck -tags nolab -tests=false . ./cmd

# go vet ran in `make vet`. Tests that the detector would only make slower skip themselves (notRaced, in race_test.go), and
# worlds of random cases are fewer: `make test` has them all.
race: ## The tests, with the race detector, also in the processes that they start
	go test -race -vet=off -timeout 30m ./...

test: ## The tests, without the race detector
	go test ./...

chaos: ## The simulated world: SEEDS cases (3000) from seed FROM (0), with a count of each event
	bash -o pipefail -c "go test ./internal/world -run 'Test(Seeds|Operators)$$' -seeds $(SEEDS) -from $(FROM) -count=1 -timeout 60m -v | grep -v -e '=== ' -e '--- PASS'"

mutants: ## Break the product, one line at a time; its tests must detect each change
	bash -o pipefail -c "go test ./internal/world -run TestMutants -mutants -count=1 -timeout 30m -v | grep -v -e '=== '"

picture: ## docs/run.svg in README.md: records a run against a lab, in a terminal (Linux)
	go test . -run 'TestRecordARun$$' -record -count=1 -v

demo: ## The README's quick start
	bash -euo pipefail -c "$$(.ci/readme-block quick-start)"

bench: ## All benchmarks
	go test -run '^$$' -bench . -benchmem ./...

perf: ## What fleetctl costs beside choria (on the PATH, or CHORIA) and a bare NATS client: NODES=20000 ROUNDS=5 CASES="ping discover inventory restart start"
	.ci/perf

soak: ## NODES (100000) nodes of a lab rolling for DURATION (1h): memory, open files and goroutines of the run stay flat; about 1 GB. HEAPS=FOLDER keeps heap profiles
	bash -o pipefail -c "go test . -run 'TestSoak$$' -soak $(or $(DURATION),1h) -soak-nodes $(or $(NODES),100000) -count=1 -timeout 0 -v $(if $(HEAPS),-soak-heaps $(HEAPS)) | grep --line-buffered -v '=== '"

fuzz: ## Each fuzz target for FUZZTIME (10s)
	@set -e; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "=== $$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

BUILD = CGO_ENABLED=0 go build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o bin/fleetctl .

build: ## bin/fleetctl, as it is released; TAGS=nolab leaves the lab out
	$(BUILD)

bin/fleetctl: $(SOURCES)
	$(BUILD)

bin/share: bin/fleetctl
	rm -rf $@
	bin/fleetctl assets --names '$(subst $(space),$(comma),$(strip $(NAMES)))' $@

install: bin/fleetctl bin/share ## Program, man pages, completions below PREFIX (/usr/local) and DESTDIR; NAMES="fleetctl choria-fleetctl"
	install -d '$(DESTDIR)$(BINDIR)'
	install -m 755 bin/fleetctl '$(DESTDIR)$(BINDIR)/$(FIRST)'
	for name in $(filter-out $(FIRST),$(NAMES)); do ln -sf $(FIRST) '$(DESTDIR)$(BINDIR)'/$$name; done
	cd bin/share && find . -type f -exec sh -c 'for f; do install -d "$$0/$${f%/*}" && install -m 644 "$$f" "$$0/$$f" || exit 1; done' '$(DESTDIR)$(SHAREDIR)' {} +

uninstall: bin/share ## Remove what `make install` wrote, with the same PREFIX, DESTDIR and NAMES
	cd '$(DESTDIR)$(BINDIR)' && rm -f $(NAMES)
	cd bin/share && find . -type f -exec sh -c 'for f; do rm -f "$$0/$$f"; done' '$(DESTDIR)$(SHAREDIR)' {} +

release-check: ## A snapshot of a release: two builds with equal checksums, the packages installed and removed; minutes; SINGLE=1 for this system only
	.ci/release-check

clean: ## Remove build results
	rm -rf bin dist
