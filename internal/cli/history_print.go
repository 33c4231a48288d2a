package cli

import (
	"io"
	"time"
)

// printSteps writes the steps of a history.
func printSteps(w io.Writer, title string, steps []step, cut bool, now time.Time) error {
	printf(w, "\n%s\n", title)
	t := newTable(w, "  TIME", "STEP", "WHAT", "RESULT")
	format := timeFormat(steps, now.Location())
	for _, s := range steps {
		t.row("  "+s.At.In(now.Location()).Format(format), stepName(s), orDash(s.Summary), orDash(s.Result))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if cut {
		printf(w, "  … and more: Temporal's web UI shows them all\n")
	}
	return nil
}

// timeFormat is how the steps' times are written: with the day, if there are
// several.
func timeFormat(steps []step, zone *time.Location) string {
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
func stepName(s step) string {
	switch s.Kind {
	case "local-activity", "activity":
		return s.Name
	case "workflow-task":
		return "workflow task " + s.Name
	}
	return s.Kind + " " + s.Name
}
