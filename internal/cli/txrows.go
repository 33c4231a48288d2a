package cli

import (
	"io"
	"time"
)

// printRows writes transactions as a table.
func printRows(w io.Writer, rows []row, now time.Time) error {
	if len(rows) == 0 {
		printf(w, "No transactions.\n")
		return nil
	}
	t := newTable(w, "TX", "STATE", "TOPIC", "KEY", "STARTED", "AGE", "WORKFLOW", "REASON")
	for _, r := range rows {
		t.row(orDash(r.Tx), r.State, few(r.Topics), few(r.Keys),
			r.Started.In(now.Location()).Format(dateTime), age(now.Sub(r.Started)), r.WorkflowID, orDash(cutText(r.Reason, 80)))
	}
	return t.flush()
}
