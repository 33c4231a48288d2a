package history

import (
	"io"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// PrintSteps writes the steps of a history.
func PrintSteps(w io.Writer, title string, steps []Step, cut bool, now time.Time) error {
	text.Printf(w, "\n%s\n", title)
	t := text.NewTable(w, "  TIME", "STEP", "WHAT", "RESULT")
	format := timeFormat(steps, now.Location())
	for _, s := range steps {
		t.Row("  "+s.At.In(now.Location()).Format(format), stepName(s), text.OrDash(s.Summary), text.OrDash(s.Result))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if cut {
		text.Printf(w, "  … and more: Temporal's web UI shows them all\n")
	}
	return nil
}

// timeFormat is how the steps' times are written: with the day, if there are
// several.
func timeFormat(steps []Step, zone *time.Location) string {
	days := map[string]bool{}
	for _, s := range steps {
		days[s.At.In(zone).Format("2006-01-02")] = true
	}
	if len(days) > 1 {
		return "01-02 15:04:05.000"
	}
	return "15:04:05.000"
}

// stepName names a step as the Temporal UI does.
func stepName(s Step) string {
	switch s.Kind {
	case "local-activity", "activity":
		return s.Name
	case "workflow-task":
		return "workflow task " + s.Name
	}
	return s.Kind + " " + s.Name
}
