package doctor

import (
	"strings"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// runbook says which page of docs/runbook is about which check, by part and the
// beginning of the check's name; the first row that fits counts.
var runbook = []struct{ part, begins, page string }{
	{"RabbitMQ", "dead letters", "intake"},
	{"RabbitMQ", "oversized dead letters", "oversized"},
	{"RabbitMQ", "policies", "policy"},
	{"RabbitMQ", "full queues", "full-queue"},
	{"RabbitMQ", "refused publishes", "refused-publish"},
	{"RabbitMQ", "connection for ", "refused-publish"},
	{"RabbitMQ", "refused signatures", "refused-signature"},
	{"RabbitMQ", "other signing keys", "refused-signature"},
	{"RabbitMQ", "signing", "refused-signature"},
	{"RabbitMQ", "breaker ", "breaker-open"},
	{"RabbitMQ", "pause", "paused"},
	{"RabbitMQ", "keeper ", "hand-overs-fail"},
	{"RabbitMQ", "half queues", "half-queue"},
	{"RabbitMQ", "group ", "half-queue"},
	{"RabbitMQ", "retries ", "waits-long"},
	{"RabbitMQ", "database ", "other-database"},
	{"Temporal", "dead letter", "dead-letter"},
	{"Temporal", "lost dead letters", "lost"},
	{"Temporal", "lost sagas", "saga-terminated"},
	{"Temporal", "lost ", "shared-workflow-terminated"},
	{"Temporal", "lost", "lost"},
	{"Temporal", "parked", "undecided-transaction"},
	{"Temporal", "sagas not undone", "saga-compensation-failed"},
	{"Temporal", "saga versions", "saga-no-worker"},
	{"Temporal", "sagas", "saga-parked"},
	{"Temporal", "waiting sagas", "saga-waiting"},
	{"Waiting", "", "not-there"},
}

// Runbook is the name of the page of docs/runbook about a finding, without its ending;
// empty: there is none.
func (f Finding) Runbook() string {
	if f.Level == text.LevelOK || f.Unseen() {
		return ""
	}
	for _, row := range runbook {
		if f.Part == row.part && strings.HasPrefix(f.Check, row.begins) {
			return row.page
		}
	}
	return ""
}

// Unseen reports whether the finding says that something could not be looked at.
func (f Finding) Unseen() bool {
	return f.Level != text.LevelOK && (f.Check == "connection" || strings.HasPrefix(f.Detail, "unknown: "))
}
