# Everything a contributor needs; `make` alone lists it.
GO ?= go
HOLDFAST = $(GO) run ./cmd/holdfast
TOOL = $(GO) tool -modfile=tools/go.mod
# The race detector needs a C compiler; .ci/run sees to it that there is one.
RACE := $(if $(shell command -v $$($(GO) env CC)),-race)
# What users import, and the command: go vet ./... of another system compiles what only tests need, and takes too long.
USERS = . ./saga ./barrier ./worker ./compensation ./holdfasttest ./keyring ./metrics ./console ./cmd/holdfast

.DEFAULT_GOAL := help
.PHONY: help demo test chaos conservation upgrade-test dev bench lint builds measure vulncheck api race-detector node browser pgbouncer prometheus browser-test console-load console-pictures compose-config histories

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Run the order-payment example through every failure, on real parts (KEEP=1 leaves them up)
	$(HOLDFAST) demo $(if $(KEEP),--keep)

test: ## Run all tests on real parts, with the race detector where there is a C compiler
	@command -v node >/dev/null || echo 'NOT TESTED: examples/node-producer, since there is no Node; make node installs it on Debian' >&2
	@for name in "$$HOLDFAST_CHROMIUM" chromium chromium-browser google-chrome; do [ -n "$$name" ] && command -v "$$name" && exit; done >/dev/null; echo 'NOT TESTED: the console in a browser, since there is no Chromium; make browser installs it on Debian' >&2
	@PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null || echo 'NOT TESTED: a pooler, since there is no pgbouncer; make pgbouncer installs it on Debian' >&2
	@command -v promtool >/dev/null || echo 'NOT TESTED: alert rules, since there is no promtool; make prometheus installs it on Debian' >&2
	$(HOLDFAST) dev --temp -- $(TOOL) gotestsum --format-hide-empty-pkg --format-icons text -- $(RACE) -timeout 80m $(TESTFLAGS) ./worker ./... # the longest first

chaos: ## 200,000 Express transactions under random kills (HOLDFAST_SEED repeats a run, HOLDFAST_CHAOS and HOLDFAST_KILLS change its size)
	HOLDFAST_CHAOS=$(or $(HOLDFAST_CHAOS),200000) $(GO) test -count=1 -v -timeout 60m -run TestChaos ./internal/chaos

conservation: ## 5,000 sagas under random kills (HOLDFAST_SEED repeats a run, HOLDFAST_SAGAS and HOLDFAST_KILLS change its size)
	HOLDFAST_SAGAS=$(or $(HOLDFAST_SAGAS),5000) $(GO) test -count=1 -v -timeout 60m -run TestConservation ./internal/conservation

upgrade-test: ## Run old and new processes side by side, with a real old binary (HOLDFAST_OLD_VERSION changes which commit)
	HOLDFAST_OLD_VERSION=$(or $(HOLDFAST_OLD_VERSION),f842969033b252be7d31759f2b52ab0d59050fb6) $(GO) test -count=1 -v -timeout 60m -run TestRollingUpgrade ./internal/upgrade

dev: ## Start RabbitMQ, PostgreSQL and Temporal privately, until Ctrl-C
	$(HOLDFAST) dev

bench: ## Measure; the last lines say which bars are met
	cd bench && $(GO) run . $(BENCHFLAGS)

lint: ## gofmt, go vet, staticcheck, errorlint, workflowcheck, spelling, import rules, length of lines
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'not gofmt-clean:'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	cd bench && $(GO) vet ./...
	cd examples/prometheus && $(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(TOOL) go-errorlint -test=false ./...
	$(TOOL) misspell -error $$(git ls-files '*.go' '*.md' '*.sh')
	$(TOOL) workflowcheck ./workflows/... ./compensation/...
	$(GO) test ./internal/imports ./internal/style

builds: ## Build what users import, and the CLI, for Windows and macOS
	GOOS=windows CGO_ENABLED=0 $(GO) build $(USERS)
	GOOS=darwin CGO_ENABLED=0 $(GO) build $(USERS)

measure: ## Measure the shape of the code: folders, walks, exports, lines (the table of docs/architecture.md)
	@$(GO) run ./internal/measure/run

vulncheck: ## Look for known vulnerabilities, where the databases can be reached
	@sh scripts/vulncheck.sh

api: ## Say what has changed in the API since the last tag
	@sh scripts/api.sh

race-detector: ## Install what the race detector needs, where it is missing (Debian, as root)
	@sh scripts/race-detector.sh

node: ## Install Node and npm, where they are missing, for the test of the producer in Node
	@sh scripts/node.sh

browser: ## Install Node, npm and Chromium, where they are missing, for the tests of the console in a browser
	@sh scripts/browser.sh

browser-test: browser ## Test the console with a browser on real servers, all of it (make test: the most of it)
	HOLDFAST_BROWSER=required HOLDFAST_BROWSER_ALL=1 $(GO) test -count=1 -v ./console/e2e

console-load: ## How long pages of the console take while HOLDFAST_ITEMS things wait (100,000 unless set), and its memory
	HOLDFAST_ITEMS=$(or $(HOLDFAST_ITEMS),100000) $(GO) test -count=1 -v -timeout 180m -run TestPagesAmongManyThings ./console/load

console-pictures: ## Make the pictures of the console for the documentation anew, in a browser (docs/images/console-*.png)
	HOLDFAST_BROWSER=required HOLDFAST_CONSOLE_PICTURES=1 $(GO) test -count=1 -run TestTheConsoleInABrowser/Pages ./console/e2e

pgbouncer: ## Install pgbouncer, where it is missing, for the tests of what a pooler does
	@sh scripts/pgbouncer.sh

prometheus: ## Install prometheus and promtool, where they are missing, for the tests of the alert rules
	@sh scripts/prometheus.sh

compose-config: ## Check docker-compose.yml with docker-compose
	@sh scripts/compose-config.sh

histories: ## Record the histories that the replay tests use, on real parts (RUN=TestRecordDeadLetters: only those)
	$(HOLDFAST) dev --temp -- env HOLDFAST_RECORD=1 $(GO) test -count=1 -run '^$(or $(RUN),TestRecord.*)$$' ./worker ./workflows/sagas
