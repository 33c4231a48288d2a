package processes

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// KeptQueue is a half queue, and how those are that keep it.
type KeptQueue struct {
	Group  string `json:"group"`
	Queue  int    `json:"queue"`
	Name   string `json:"name"`
	Exists bool   `json:"exists"`
	// Waiting counts the records that no Keeper has got yet, Readers the Keepers
	// that RabbitMQ knows.
	Waiting int `json:"waiting"`
	Readers int `json:"readers"`
	// Keeper is the process whose Keeper gets the records; empty while none came.
	// Standbys are the others.
	Keeper   string   `json:"keeper,omitempty"`
	Standbys []string `json:"standbys,omitempty"`
	// answered is how many Keepers answered.
	Answered int `json:"-"`

	Held        int `json:"held"`
	HandingOver int `json:"handing_over"`
	Undecided   int `json:"undecided"`
	// Ages are in seconds.
	OldestAge  float64 `json:"oldest_age"`
	CheckAfter float64 `json:"check_after"`

	Matched    uint64 `json:"matched"`
	HandedOver uint64 `json:"handed_over"`
	Failed     uint64 `json:"failed"`
	Orphaned   uint64 `json:"orphaned"`
	Malformed  uint64 `json:"malformed"`
	Ignored    uint64 `json:"ignored,omitempty"`

	FailingSince time.Time `json:"failing_since,omitzero"`
	LastError    string    `json:"last_error,omitempty"`
	// Unable says why the Keeper's process cannot hand over at all.
	Unable string `json:"unable,omitempty"`
}

// Kept puts together what RabbitMQ and the processes say of the nth half queue of
// a group.
func Kept(group string, n int, q broker.QueueInfo, answers []broker.ProcessStatus) KeptQueue {
	k := KeptQueue{Group: group, Queue: n, Name: q.Name, Exists: q.Exists, Waiting: q.Messages, Readers: q.Consumers}
	type keeper struct {
		instance string
		broker.KeeperStatus
	}
	var all []keeper
	for _, p := range answers {
		for _, s := range p.Keepers {
			if s.Group == group && max(s.Queue, 1) == n {
				all = append(all, keeper{text.OrDash(p.Instance), s})
			}
		}
	}
	k.Answered = len(all)
	if len(all) == 0 {
		return k
	}
	// One that lost its queue without noticing may still believe that it is active.
	slices.SortStableFunc(all, func(x, y keeper) int {
		return cmp.Or(-CompareBool(x.Active, y.Active), cmp.Compare(y.Held, x.Held))
	})
	first := all[0]
	if first.Active || len(all) == 1 && k.Readers <= 1 {
		k.Keeper, all = first.instance, all[1:]
	}
	for _, s := range all {
		k.Standbys = append(k.Standbys, s.instance)
	}
	k.Held, k.HandingOver, k.Undecided = first.Held, first.HandingOver, first.Undecided
	k.OldestAge, k.CheckAfter = first.OldestAge.Seconds(), first.CheckAfter.Seconds()
	k.Ignored = first.Ignored
	k.Matched, k.HandedOver, k.Failed = first.Matched, first.HandedOver, first.Failed
	k.Orphaned, k.Malformed = first.Orphaned, first.Malformed
	k.FailingSince, k.LastError, k.Unable = first.FailingSince, first.LastError, first.Unable
	return k
}

// CompareBool orders false before true.
func CompareBool(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return 1
	}
	return -1
}

// KeptGroups are the groups whose Keepers answered.
func KeptGroups(answers []broker.ProcessStatus) []string {
	var groups []string
	for _, p := range answers {
		for _, k := range p.Keepers {
			groups = append(groups, k.Group)
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

// KeptQueues looks at the half queues of groups. A queue that only its Keeper
// knows is among them.
func KeptQueues(ctx context.Context, b *broker.Broker, groups []string,
	answers []broker.ProcessStatus) ([]KeptQueue, error) {
	var all []KeptQueue
	for _, g := range groups {
		names, err := b.FindHalfQueues(ctx, g)
		if err != nil {
			return all, err
		}
		info, err := b.Inspect(ctx, names...)
		if err != nil {
			return all, err
		}
		for i, q := range info.Queues {
			all = append(all, Kept(g, i+1, q, answers))
		}
	}
	return all, nil
}

// Label names the queue: its group, and its number where that is not the first.
func (k KeptQueue) Label() string {
	if k.Queue > 1 {
		return k.Group + "#" + strconv.Itoa(k.Queue)
	}
	return k.Group
}

// Late reports whether the oldest half message should have been handed over long
// ago.
func (k KeptQueue) Late() bool {
	return k.OldestAge > 3*k.CheckAfter && k.OldestAge > keeperLate.Seconds()
}

// keeperLate is how old a half message may become in any case.
const keeperLate = 10 * time.Second

// Seconds is a number of seconds as a duration.
func Seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Notes say what is wrong with the queue, in words.
func (k KeptQueue) Notes(now time.Time) []string {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, k.Label()+": "+fmt.Sprintf(format, args...)) }
	switch {
	case !k.Exists && k.Answered == 0:
		add("there is no half queue %s, and no Keeper answers: start a process of the group; check its name and "+
			"--prefix", k.Name)
	case !k.Exists:
		add("the half queue %s is not there: restart a process of the group, which makes it", k.Name)
	case k.Readers == 0:
		add("nobody keeps it: start a process of the group")
	case k.Answered == 0:
		add("no Keeper answers, although %s it: they are overloaded, or of a version that does not answer yet",
			readers(k.Readers))
	case k.Keeper == "":
		add("nothing has come to any of %d Keepers yet: which one is active is not known", k.Answered)
	}
	switch {
	case !k.FailingSince.IsZero():
		add("%s", k.Failing(now))
	case k.Late():
		add("its oldest half message should have been handed over after %s; %d tries failed",
			text.Age(Seconds(k.CheckAfter)), k.Failed)
	}
	return notes
}

// Failing says since when hand-overs fail, what waits for them, and why.
func (k KeptQueue) Failing(now time.Time) string {
	wait := fmt.Sprintf("%d half messages wait", k.Undecided)
	if k.Undecided == 1 {
		wait = "1 half message waits"
	}
	if k.Waiting > 0 {
		wait += fmt.Sprintf(", %s behind", text.Plural(k.Waiting, "record"))
	}
	return fmt.Sprintf("hand-overs fail%s, %s: %s", Since(k.FailingSince, now), wait, text.OrDash(k.LastError))
}

func readers(n int) string {
	if n == 1 {
		return "1 reads"
	}
	return fmt.Sprintf("%d read", n)
}
