package server

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
)

// clockLimit is by how much two clocks may differ before it is a finding.
const clockLimit = time.Minute

// ClockOff says that a part's clock and this machine's differ, if they do.
func ClockOff(part string, before, after, theirs time.Time) string {
	way, off := "ahead of", before.Round(0).Sub(theirs.Round(0))
	if off < 0 {
		way, off = "behind", max(0, theirs.Round(0).Sub(after.Round(0)))
	}
	if off <= clockLimit {
		return ""
	}
	return fmt.Sprintf("this machine's clock is %s %s %s's", text.Age(off), way, part)
}

// ClockOff says that Temporal's clock and this machine's differ, if they do, by when
// Temporal says that the processes asked it last; known is false where none has.
func (t *Temporal) ClockOff(ctx context.Context, prefix string, now func() time.Time) (off string,
	known bool, err error) {
	d, err := t.DescribeTaskQueue(ctx, workflows.DeadLetterQueue(prefix), enumspb.TASK_QUEUE_TYPE_WORKFLOW)
	if err != nil {
		return "", false, err
	}
	var latest time.Time
	for _, p := range d.GetPollers() {
		if at := p.GetLastAccessTime().AsTime(); at.After(latest) {
			latest = at
		}
	}
	if latest.IsZero() {
		return "", false, nil
	}
	at := now()
	return ClockOff("Temporal", at.Add(-pollAge-pollLasts), at, latest), true, nil
}

// pollAge is how long Temporal remembers a poller, and pollLasts how long one
// request of it lasts: the last one was made within these.
const (
	pollAge   = 5 * time.Minute
	pollLasts = time.Minute
)
