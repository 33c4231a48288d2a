package cli

import (
	"fmt"
	"time"

	"github.com/holdfastmq/holdfast/broker"
)

// ladders says whose messages wait in a delay, and since when they fail.
func (f *findings) ladders(all []looked, now time.Time) {
	by := map[string]*wait{}
	unseen := 0
	var unread []string
	var why error
	for _, l := range all {
		unseen += l.unseen()
		for _, x := range l.Waits {
			if x.Consumer == "" {
				continue
			}
			w := by[x.Consumer]
			if w == nil {
				w = &wait{Kind: waitRetry, For: ladderPrefix + x.Consumer}
				by[x.Consumer] = w
			}
			for range x.Count {
				w.note("", x.Since, x.Next)
			}
		}
		if l.err != nil {
			unread, why = append(unread, l.Name), l.err
		}
	}
	if why != nil {
		f.add(levelWarning, "retries", "give the user that doctor has read permission for them, or do without",
			"whose the messages in %s are is not known: %s", join(unread), text(why))
	}
	for _, name := range sortedKeys(by) {
		w := by[name]
		w.AtLeast = unseen > 0
		said := fmt.Sprintf("%s on its retry ladder", w.counted())
		if !w.Since.IsZero() {
			said += fmt.Sprintf("; the oldest has failed for %s", age(now.Sub(w.Since)))
		}
		if w.Next.After(now) {
			said += fmt.Sprintf("; the next try is in %s", age(w.Next.Sub(now)))
		}
		if w.Since.IsZero() || now.Sub(w.Since) < broker.LongRetry {
			f.ok("retries "+name, "%s", said)
			continue
		}
		remedy := "mend what it fails for, see the log of its processes; it goes on by itself, and " + f.code("retry-now", "") +
			" tries them at once; docs/runbook/waits-long.md"
		f.add(levelWarning, "retries "+name, remedy, "%s", said)
	}
}
