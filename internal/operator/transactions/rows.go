package transactions

import (
	"io"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// PrintRows writes transactions as a table.
func PrintRows(w io.Writer, rows []Row, now time.Time) error {
	if len(rows) == 0 {
		text.Printf(w, "No transactions.\n")
		return nil
	}
	t := text.NewTable(w, "TX", "STATE", "TOPIC", "KEY", "STARTED", "AGE", "WORKFLOW", "REASON")
	for _, r := range rows {
		t.Row(text.OrDash(r.Tx), r.State, text.Few(r.Topics), text.Few(r.Keys),
			r.Started.In(now.Location()).Format(text.DateTime), text.Age(now.Sub(r.Started)),
			r.WorkflowID, text.OrDash(text.CutText(r.Reason, 80)))
	}
	return t.Flush()
}
