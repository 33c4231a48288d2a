package doctor

import (
	"fmt"
	"time"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/waits"
)

// ladders says whose messages wait in a delay, and since when they fail.
func (f *Findings) ladders(all []waits.Looked, now time.Time) {
	by := map[string]*waits.Wait{}
	unseen := 0
	var unread []string
	var why error
	for _, l := range all {
		unseen += l.Unseen()
		for _, x := range l.Waits {
			if x.Consumer == "" {
				continue
			}
			w := by[x.Consumer]
			if w == nil {
				w = &waits.Wait{Kind: waits.WaitRetry, For: waits.LadderPrefix + x.Consumer}
				by[x.Consumer] = w
			}
			for range x.Count {
				w.Note("", x.Since, x.Next)
			}
		}
		if l.Err != nil {
			unread, why = append(unread, l.Name), l.Err
		}
	}
	if why != nil {
		f.add(text.LevelWarning, "retries", "give the user that doctor has read permission for them, or do without",
			"whose the messages in %s are is not known: %s", text.Join(unread), text.Of(why))
	}
	for _, name := range text.SortedKeys(by) {
		w := by[name]
		w.AtLeast = unseen > 0
		said := fmt.Sprintf("%s on its retry ladder", w.Counted())
		if !w.Since.IsZero() {
			said += fmt.Sprintf("; the oldest has failed for %s", text.Age(now.Sub(w.Since)))
		}
		if w.Next.After(now) {
			said += fmt.Sprintf("; the next try is in %s", text.Age(w.Next.Sub(now)))
		}
		if w.Since.IsZero() || now.Sub(w.Since) < broker.LongRetry {
			f.ok("retries "+name, "%s", said)
			continue
		}
		remedy := "mend what it fails for, see the log of its processes; it goes on by itself, and " +
			f.Code("retry-now", "") +
			" tries them at once; docs/runbook/waits-long.md"
		f.add(text.LevelWarning, "retries "+name, remedy, "%s", said)
	}
}
