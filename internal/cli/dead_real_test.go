package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// graveyard has dead letters on the shared Temporal, and answers for their
// consumers and their producer group.
type graveyard struct {
	t      *testing.T
	c      client.Client
	prefix string
	env    []string
	steps  *activities.DeadLetters
	stop   func() // stops the worker of the dead letters; may be called again

	mu sync.Mutex
	// answers say what a consumer does with a message: handled (the default),
	// silent, gone (there is no queue), or it fails with this error.
	answers map[string]string
	// sent are the redeliveries of each message, bodies their last bodies.
	sent   map[string]int
	bodies map[string]string
	onSent func(total int)
	undone map[string]int
}

const (
	ghostGroup = "orders"
	handled    = "handled"
	silent     = "silent"
	gone       = "gone"
)

func newGraveyard(t *testing.T) *graveyard {
	s := stacktest.Shared(t)
	g := &graveyard{t: t, c: stacktest.TemporalClient(t, s), prefix: stacktest.Prefix(t),
		answers: map[string]string{}, sent: map[string]int{}, bodies: map[string]string{}, undone: map[string]int{}}
	g.env = []string{"USER=ann", "HOLDFAST_TIMEOUT=2m", "HOLDFAST_PREFIX=" + g.prefix, "TEMPORAL_ADDRESS=" + s.TemporalAddress(),
		"TEMPORAL_NAMESPACE=" + s.Namespace(), "HOLDFAST_TEMPORAL_UI=http://ui.example"}
	require.NoError(t, worker.EnsureSearchAttributes(t.Context(), g.c, s.Namespace()))
	g.steps = &activities.DeadLetters{Redeliver: g, Notify: g, Compensations: g}
	g.stop = g.work(workflows.DeadLetterQueue(g.prefix), func(w sdkworker.Worker) {
		w.RegisterWorkflowWithOptions(deadflow.DeadLetter, workflow.RegisterOptions{Name: deadflow.Name})
		g.steps.Register(w)
	})
	return g
}

// work starts a worker, and waits until the server knows of it.
func (g *graveyard) work(queue string, register func(sdkworker.Worker)) (stop func()) {
	g.t.Helper()
	w := sdkworker.New(g.c, queue, sdkworker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine is slow
	register(w)
	require.NoError(g.t, w.Start())
	stop = sync.OnceFunc(w.Stop)
	g.t.Cleanup(stop)
	t := &server.Temporal{Client: g.c, Prefix: g.prefix}
	eventually(g.t, func() bool {
		n, err := t.Pollers(g.t.Context(), queue, 1)
		return err == nil && n > 0
	}, func() string { return "no poller of " + queue })
	return stop
}

func (g *graveyard) workForGroup() {
	g.t.Helper()
	g.work(workflows.TaskQueue(g.prefix, ghostGroup), func(w sdkworker.Worker) { g.steps.RegisterGroup(w) })
}

// Redeliver implements activities.Redeliverer: the consumer answers at once.
func (g *graveyard) Redeliver(ctx context.Context, r activities.Redelivery) (out activities.Redelivered, err error) {
	g.mu.Lock()
	answer := g.answers[r.Letter.ID]
	if answer == gone {
		g.mu.Unlock()
		return out, fmt.Errorf("queue %s: %w", r.Letter.Queue, holdfast.ErrUnroutable)
	}
	g.sent[r.Letter.ID] = max(g.sent[r.Letter.ID], r.N) // the same redelivery may run twice: its workflow task was lost
	if g.bodies[r.Letter.ID] = string(r.Letter.Message.Body); r.Edit != nil {
		g.bodies[r.Letter.ID] = string(r.Edit.Body)
	}
	if g.onSent != nil {
		g.onSent(len(g.sent))
	}
	g.mu.Unlock()
	id := workflows.DeadLetterID(g.prefix, r.Letter)
	switch answer {
	case silent:
		return out, nil
	case "", handled:
		return out, g.c.SignalWorkflow(ctx, id, "", deadflow.SignalHandled, r.N)
	}
	f := r.Letter.Failure
	f.Reason, f.Redelivery, f.Attempts = answer, r.N, f.Attempts+3
	return out, g.c.SignalWorkflow(ctx, id, "", deadflow.SignalDied, f)
}

// PublishCompensated implements activities.Notifier.
func (g *graveyard) PublishCompensated(context.Context, holdfast.DeadLetter) error { return nil }

// Compensate implements activities.Compensator.
func (g *graveyard) Compensate(_ context.Context, d activities.Compensation) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.answers[d.ID] == "no undo" {
		return false, holdfast.Permanent(fmt.Errorf("the parcel has left"))
	}
	g.undone[d.ID]++
	return g.undone[d.ID] > 1, nil
}

// sentTimes is how often each message was redelivered.
func (g *graveyard) sentTimes() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.sent)
}

// countedOutcomes reads the first line of what an action on several says.
func countedOutcomes(t *testing.T, out string) (counts map[actions.Verdict]int, all int) {
	t.Helper()
	line, _, _ := strings.Cut(out, "\n")
	_, list, ok := strings.Cut(line, " dead letters: ")
	require.True(t, ok, out)
	counts = map[actions.Verdict]int{}
	for _, part := range strings.Split(list, ", ") {
		n, what, _ := strings.Cut(part, " ")
		count, err := strconv.Atoi(n)
		require.NoError(t, err, out)
		counts[actions.Verdict(what)] += count
		all += count
	}
	return counts, all
}

func (g *graveyard) set(id, answer string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answers[id] = answer
}

// ghost is a dead letter; change may be nil. Message IDs differ on every run.
func (g *graveyard) ghost(name string, change func(*holdfast.DeadLetter)) holdfast.DeadLetter {
	l := holdfast.DeadLetter{ID: g.prefix + "." + name, Queue: g.prefix + ".q.payments", TxID: "tx-" + g.prefix, Group: ghostGroup,
		Message: holdfast.Message{Topic: "order.placed", Key: g.prefix + "-" + name, ContentType: "application/json", Body: []byte(`{"n":1}`)},
		Failure: holdfast.Failure{Consumer: "payments", Class: holdfast.ClassError, Reason: "sold out", Attempts: 2, At: time.Now(),
			Log: []holdfast.Attempt{{N: 1, At: time.Now(), Class: holdfast.ClassTimeout, Error: "too slow"}, {N: 2, At: time.Now(), Class: holdfast.ClassError, Error: "sold out"}}},
		Size: 7}
	if change != nil {
		change(&l)
	}
	return l
}

// bury starts the workflows of dead letters, and waits until they are listed.
func (g *graveyard) bury(letters ...holdfast.DeadLetter) {
	g.t.Helper()
	var lanes errgroup.Group
	lanes.SetLimit(32)
	for _, l := range letters {
		lanes.Go(func() error {
			in := deadflow.Input{Prefix: g.prefix, Letter: l}
			for late := false; ; late = true { // a busy server may not answer in time
				_, err := g.c.ExecuteWorkflow(g.t.Context(), deadflow.StartOptions(in), deadflow.Name, in)
				var there *serviceerror.WorkflowExecutionAlreadyStarted
				switch {
				case late && errors.As(err, &there):
					return nil
				case !server.TimedOut(err) || g.t.Context().Err() != nil:
					return err
				}
			}
		})
	}
	require.NoError(g.t, lanes.Wait())
	g.list(func(rows []deadletters.Row) bool {
		listed := map[string]bool{}
		for _, r := range rows {
			listed[r.WorkflowID] = true
		}
		return !slices.ContainsFunc(letters, func(l holdfast.DeadLetter) bool { return !listed[workflows.DeadLetterID(g.prefix, l)] })
	}, "--state", "all")
}

func (g *graveyard) holdfast(args ...string) result {
	g.t.Helper()
	return runProgram(g.t, g.env, append([]string{"dead"}, args...)...)
}

func (g *graveyard) decode(v any, args ...string) result {
	g.t.Helper()
	r := g.holdfast(append(args, "--json")...)
	require.NoError(g.t, json.Unmarshal([]byte(r.out), v), r.err+r.out)
	return r
}

// list lists until what ready waits for is there: the visibility store is late.
func (g *graveyard) list(ready func([]deadletters.Row) bool, args ...string) []deadletters.Row {
	g.t.Helper()
	var rows []deadletters.Row
	eventually(g.t, func() bool {
		rows = nil
		r := g.holdfast(append([]string{"list", "--limit", "5000", "--json"}, args...)...)
		return r.status == frame.ExitOK && json.Unmarshal([]byte(r.out), &rows) == nil && ready(rows) // a busy server may be late
	}, func() string { return fmt.Sprint(len(rows), " listed by ", args) })
	return rows
}

func count(n int) func([]deadletters.Row) bool {
	return func(rows []deadletters.Row) bool { return len(rows) == n }
}

func eventually(t *testing.T, ready func() bool, what func() string) {
	t.Helper()
	(&shop{t: t}).eventually(ready, what)
}

func deadIDs(rows []deadletters.Row) []string {
	var all []string
	for _, r := range rows {
		all = append(all, r.ID)
	}
	return all
}

func TestListDeadLetters(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	tricky := `a\'b" OR HoldfastKey != ''`
	late := g.ghost("1", func(l *holdfast.DeadLetter) {
		l.Failure.Class, l.Failure.Reason = holdfast.ClassTimeout, "order 17 was not in time"
	})
	also := g.ghost("2", func(l *holdfast.DeadLetter) {
		l.Failure.Class, l.Failure.Reason = holdfast.ClassTimeout, "order 18 was not in time"
	})
	mail := g.ghost("3", func(l *holdfast.DeadLetter) {
		l.Failure.Consumer, l.Queue, l.Message.Topic, l.Message.Key = "mails", g.prefix+".q.mails", "order.shipped", tricky
	})
	dropped := g.ghost("4", func(l *holdfast.DeadLetter) {
		l.Failure.Consumer, l.Queue, l.Failure.Class = "", g.prefix+".half.orders", holdfast.ClassDropped
	})
	policy := g.ghost("5", func(l *holdfast.DeadLetter) {
		l.Policy = holdfast.Policy{Action: holdfast.PolicyRedeliver, Redeliver: []time.Duration{time.Hour}}
	})
	g.bury(late, also, mail, dropped, policy)
	require.Equal(t, frame.ExitOK, g.holdfast("discard", dropped.ID, "--force", "--reason", "x").status)
	g.list(count(1), "--state", "discarded")

	for args, want := range map[string][]string{
		"":                                     {late.ID, also.ID, mail.ID, policy.ID},
		"--state parked":                       {late.ID, also.ID, mail.ID},
		"--state waits":                        {policy.ID},
		"--state all":                          {late.ID, also.ID, mail.ID, policy.ID, dropped.ID},
		"--state discarded":                    {dropped.ID},
		"--state handled":                      nil,
		"--consumer mails":                     {mail.ID},
		"--consumer mail":                      nil,
		"--topic order.placed --class timeout": {late.ID, also.ID},
		"--key " + late.Message.Key:            {late.ID},
		"--error 17":                           {late.ID},
		"--newer-than 1h --consumer payments":  {late.ID, also.ID, policy.ID},
		"--older-than 1h":                      nil,
	} {
		rows := g.list(count(len(want)), strings.Fields(args)...)
		require.ElementsMatch(t, want, deadIDs(rows), args)
	}
	require.Equal(t, []string{mail.ID}, deadIDs(g.list(count(1), "--key", tricky)), "quotes are escaped")
	row := g.list(count(1), "--key", late.Message.Key)[0]
	require.Equal(t, deadletters.Row{ID: late.ID, Consumer: "payments", Topic: "order.placed", Key: late.Message.Key, State: "parked", Class: "timeout",
		Reason: "order 17 was not in time", Attempts: 2, WorkflowID: workflows.DeadLetterID(g.prefix, late), Started: row.Started, RunID: row.RunID}, row)

	var groups []deadletters.Group
	g.decode(&groups, "list", "--group-by", "error")
	require.Equal(t, []string{"order <n> was not in time", "sold out"}, []string{groups[0].Value, groups[1].Value})
	require.Equal(t, 2, groups[0].Count)
	require.Equal(t, "holdfast dead list --error 'order <n> was not in time'", groups[0].Command)
	require.Len(t, g.list(count(2), "--error", "order <n> was not in time"), 2)
	g.decode(&groups, "list", "--group-by", "consumer", "--state", "all")
	require.Equal(t, "payments", groups[0].Value)
	require.Equal(t, 3, groups[0].Count)

	r := g.holdfast("list", "--limit", "2")
	require.Equal(t, 3, strings.Count(r.out, "\n"), r.out)
	require.Contains(t, r.err, "There are more than 2")
}

func TestShowADeadLetter(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	l := g.ghost("1", func(l *holdfast.DeadLetter) { l.Policy.AllowEdits = true })
	other := g.ghost("1", func(l *holdfast.DeadLetter) {
		l.Failure.Consumer, l.Queue, l.Message.Body, l.Size = "mails", g.prefix+".q.mails", []byte{0xff, 0}, 2
	})
	g.bury(l, other)
	g.set(l.ID, "sold out again")
	r := g.holdfast("redeliver", "dead/payments/"+l.ID, "--reason", "try it", "--wait", "2m")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "failed again: sold out again; ")

	var d deadletters.Detail
	for _, args := range [][]string{{"dead/payments/" + l.ID}, {l.ID, "--consumer", "payments"}, {l.Message.Key, "--consumer", "payments"}} {
		d = deadletters.Detail{}
		r := g.decode(&d, append([]string{"show"}, args...)...)
		require.Equal(t, frame.ExitOK, r.status, r.err)
		require.Equal(t, workflows.DeadLetterID(g.prefix, l), d.WorkflowID)
	}
	require.Equal(t, "parked", d.State)
	require.Equal(t, "sold out again", d.Reason)
	require.Equal(t, 5, d.Attempts)
	require.Equal(t, `{"n":1}`, d.Message.Text)
	require.Len(t, d.Log, 2)
	require.Equal(t, "tx-"+g.prefix, d.Producer.Tx)
	require.Contains(t, d.Producer.Note, "no workflow has it")
	require.Equal(t, "http://ui.example/namespaces/default/workflows/"+g.prefix+":dead%2Fpayments%2F"+l.ID+"/"+d.RunID+"/history", d.UI)
	require.Equal(t, []string{"redeliver", "redeliver-edited", "compensate", "discard"}, d.Status.Actions)
	var said []string
	for _, s := range d.Steps {
		if s.Kind == "update" || s.Kind == "signal" {
			said = append(said, s.Name+": "+s.Summary)
		}
	}
	require.ElementsMatch(t, []string{"redeliver: ann (claimed): try it", "died: redelivery 1 failed: sold out again"}, said)

	r = g.holdfast("show", l.ID, "--consumer", "payments")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	for _, want := range []string{`state +parked`, `error +sold out again`, `1 +\S+ \S+ +timeout +too slow`, `redeliver +ann \(claimed\) +try it`,
		`holdfast dead redeliver \S+:dead/payments/\S+ --edit FILE --reason TEXT`, `policy +wait for an operator; edits are allowed`} {
		require.Regexp(t, want, r.out)
	}
	require.Contains(t, r.out, `{"n":1}`)
	require.NotContains(t, g.holdfast("show", l.ID, "--consumer", "payments", "--no-body").out, `{"n":1}`)
	require.Equal(t, `{"n":1}`, g.holdfast("show", l.ID, "--consumer", "payments", "--raw").out)
	r = g.holdfast("show", other.ID, "--consumer", "mails")
	require.Contains(t, r.out, "(binary)\n00000000  ff 00 ")
	require.Equal(t, "\xff\x00", g.holdfast("show", other.ID, "--consumer", "mails", "--raw").out)

	r = g.holdfast("show", l.ID)
	require.Contains(t, r.err, "means 2 workflows")
	require.Equal(t, frame.ExitOK, g.holdfast("discard", l.ID, "--consumer", "mails", "--reason", "x").status)
	g.decode(&d, "show", l.ID)
	require.Equal(t, "payments", d.Consumer, "the open one is meant")
	r = g.holdfast("show", g.prefix+".nobody")
	require.Contains(t, r.err, "no dead letter has the ID or the key")
}

// one runs an action on one dead letter.
func (g *graveyard) one(args ...string) (actions.Outcome, result) {
	g.t.Helper()
	var all []actions.Outcome
	r := g.decode(&all, append(args, "--reason", "test")...)
	require.Len(g.t, all, 1)
	return all[0], r
}

func TestRedeliverOneDeadLetter(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	good, dying, quiet, lost := g.ghost("good", nil), g.ghost("dying", nil), g.ghost("quiet", nil), g.ghost("lost", nil)
	g.bury(good, dying, quiet, lost)
	g.set(dying.ID, "sold out again")
	g.set(quiet.ID, silent)
	g.set(lost.ID, gone)
	id := func(l holdfast.DeadLetter) string { return workflows.DeadLetterID(g.prefix, l) }

	o, r := g.one("redeliver", id(good), "--wait", "2m")
	require.Equal(t, actions.Outcome{ID: good.ID, Consumer: "payments", WorkflowID: id(good), Outcome: actions.Handled, State: "handled", Redelivery: 1}, o)
	require.Equal(t, frame.ExitOK, r.status)
	o, r = g.one("redeliver", id(good))
	require.Equal(t, []any{actions.Settled, "handled", frame.ExitError}, []any{o.Outcome, o.Detail, r.status})
	o, r = g.one("redeliver", id(dying), "--wait", "2m")
	require.Equal(t, []any{actions.FailedAgain, "sold out again", frame.ExitError}, []any{o.Outcome, o.Detail, r.status})
	o, r = g.one("redeliver", id(lost))
	require.Equal(t, []any{actions.Refused, frame.ExitError}, []any{o.Outcome, r.status})
	require.Contains(t, o.Detail, "cannot be redelivered")

	o, r = g.one("redeliver", id(quiet), "--wait", "1ms")
	require.Equal(t, []any{actions.Redelivered, frame.ExitError}, []any{o.Outcome, r.status}, "that it was handled was not seen")
	o, r = g.one("redeliver", id(quiet))
	require.Equal(t, actions.Refused, o.Outcome)
	require.Contains(t, o.Detail, "has not answered redelivery 1")
	o, r = g.one("discard", id(quiet))
	require.Equal(t, actions.Refused, o.Outcome)
	require.Contains(t, o.Detail, "force")
	o, r = g.one("redeliver", id(quiet), "--force", "--wait", "0")
	require.Equal(t, []any{actions.Redelivered, 2, frame.ExitOK}, []any{o.Outcome, o.Redelivery, r.status}, "nothing was to be seen")
	o, r = g.one("discard", id(quiet), "--force")
	require.Equal(t, []any{actions.Discarded, frame.ExitOK}, []any{o.Outcome, r.status})

	r = g.holdfast("redeliver", "dead/payments/nobody", "--reason", "x")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "no dead letter")
}

func TestRedeliverEdited(t *testing.T) {
	g := newGraveyard(t)
	yes, no := g.ghost("yes", func(l *holdfast.DeadLetter) { l.Policy.AllowEdits = true }), g.ghost("no", nil)
	g.bury(yes, no)
	file := filepath.Join(t.TempDir(), "body")
	edit := func(id, body string) result {
		require.NoError(t, os.WriteFile(file, []byte(body), 0o600))
		return g.holdfast("redeliver", "dead/payments/"+id, "--reason", "x", "--edit", file, "--wait", "2m")
	}
	require.Contains(t, edit(yes.ID, `{"n":`).err, "no JSON")
	require.Contains(t, edit(yes.ID, `{"n":1}`).err, "as it was")
	require.Contains(t, edit(yes.ID, ``).err, "empty")
	r := edit(no.ID, `{"n":2}`)
	require.Contains(t, r.err, "does not allow it")
	r = edit(yes.ID, `{"n":23}`)
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Regexp(t, `original: 7 bytes, sha256 [0-9a-f]{64}\nedited:   8 bytes, sha256 [0-9a-f]{64}\n`, r.err)
	require.Equal(t, `{"n":23}`, g.bodies[yes.ID])
}

// TestRedeliverHundreds takes what operators do most: all of a consumer's.
func TestRedeliverHundreds(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	const n = 300
	var letters []holdfast.DeadLetter
	for i := range n {
		l := g.ghost(fmt.Sprint(i), nil)
		switch {
		case i < 3:
			g.set(l.ID, "sold out again")
		case i < 5:
			g.set(l.ID, silent)
		}
		letters = append(letters, l)
	}
	began := time.Now()
	g.bury(letters...)
	t.Logf("%d started and listed: %.0f/s", n, n/time.Since(began).Seconds())

	r := g.holdfast("redeliver", "--consumer", "payments", "--reason", "x")
	require.Equal(t, frame.ExitUsage, r.status, "more than one needs --yes")
	require.Contains(t, r.err, fmt.Sprint(n, " dead letters"))
	r = g.holdfast("redeliver", "--consumer", "payments", "--dry-run")
	require.Equal(t, n+1, strings.Count(r.out, "\n"))
	require.Empty(t, g.sentTimes(), "a dry run does nothing")

	began = time.Now()
	r = g.holdfast("redeliver", "--consumer", "payments", "--reason", "the ledger is back", "--yes", "--wait", "5s")
	t.Logf("%d redelivered: %.0f/s, with the wait for those that do not answer", n, n/time.Since(began).Seconds())
	require.Equal(t, frame.ExitError, r.status, "not all of it was handled")
	// A busy machine may not have all answers within the wait, or not send all: then the
	// counts say so. A letter whose first answer was lost on the way is asked again, and
	// settled by then.
	counts, all := countedOutcomes(t, r.out)
	require.Equal(t, n, all, r.out)
	require.LessOrEqual(t, counts[actions.Handled]+counts[actions.Settled], n-5, r.out)
	require.LessOrEqual(t, counts[actions.FailedAgain], 3, r.out)
	if counts[actions.Handled]+counts[actions.Settled] == n-5 && counts[actions.Redelivered] == 2 && counts[actions.FailedAgain] == 3 {
		require.Equal(t, 1+1+1+5+2, strings.Count(r.out, "\n"), "a summary, a title, each that failed, and what to do about the two")
	}
	g.list(func(rows []deadletters.Row) bool { // what was not sent is sent now
		if len(rows) > 3 {
			g.holdfast("redeliver", "--all", "--reason", "the ledger is back", "--yes", "--wait", "1s")
		}
		return len(rows) == 3
	}, "--state", "parked")
	for id, times := range g.sentTimes() {
		if !slices.ContainsFunc(letters[:3], func(l holdfast.DeadLetter) bool { return l.ID == id }) {
			require.Equal(t, 1, times, id)
		}
	}

	var rows []deadletters.Row
	g.decode(&rows, "redeliver", "--all", "--dry-run")
	require.Len(t, rows, 3, "those that are settled, or not answered yet, are not selected")
}

// TestInterruptedBulkCanBeRepeated: what was sent is told from what was not, and
// nothing is sent twice.
func TestInterruptedBulkCanBeRepeated(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	const n = 200
	var letters []holdfast.DeadLetter
	for i := range n {
		letters = append(letters, g.ghost(fmt.Sprint(i), nil))
		if i%2 == 0 {
			g.set(letters[i].ID, silent)
		}
	}
	g.bury(letters...)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	g.onSent = func(total int) {
		if total == n/4 {
			interrupt()
		}
	}
	var out, errs bytes.Buffer
	status := Main(ctx, []string{"dead", "redeliver", "--all", "--yes", "--reason", "x", "--json"},
		frame.Surroundings{In: strings.NewReader(""), Out: &out, Err: &errs, Environ: g.env, Now: time.Now})
	require.Equal(t, frame.ExitError, status)
	var all []actions.Outcome
	require.NoError(t, json.Unmarshal(out.Bytes(), &all), errs.String())
	require.Len(t, all, n)
	unsent := 0
	sent := g.sentTimes()
	for _, o := range all {
		switch o.Outcome {
		case actions.Unsent:
			unsent++
			require.Contains(t, []string{"interrupted", "stopped: " + actions.ErrSilence.Error()}, o.Detail)
			require.Zero(t, sent[o.ID], o.ID)
		case actions.Unknown: // a busy machine answered too late
			require.LessOrEqual(t, sent[o.ID], 1, o.ID)
		default:
			require.Contains(t, []actions.Verdict{actions.Handled, actions.Redelivered, actions.Settled}, o.Outcome, o.ID)
			require.Equal(t, 1, sent[o.ID], o.ID)
		}
	}
	require.NotZero(t, unsent)

	// At once, while the lists are late still; again, if it is too much for the machine.
	eventually(t, func() bool {
		g.holdfast("redeliver", "--all", "--yes", "--reason", "x", "--wait", "0")
		return len(g.sentTimes()) == n
	}, func() string { return fmt.Sprint(len(g.sentTimes()), " of ", n, " sent") })
	for id, times := range g.sentTimes() {
		require.Equal(t, 1, times, id)
	}
}

func TestCompensateDeadLetters(t *testing.T) {
	g := newGraveyard(t)
	foreign := g.ghost("foreign", func(l *holdfast.DeadLetter) { l.TxID, l.Group = "", "" })
	parcel, other := g.ghost("parcel", nil), g.ghost("other", nil)
	g.bury(parcel, other, foreign)
	id := func(l holdfast.DeadLetter) string { return workflows.DeadLetterID(g.prefix, l) }

	o, r := g.one("compensate", id(foreign))
	require.Equal(t, []any{actions.Refused, frame.ExitError}, []any{o.Outcome, r.status})
	require.Contains(t, o.Detail, "no producer group")
	o, r = g.one("compensate", id(other), "--wait", "1s")
	require.Equal(t, []any{actions.Undoing, "no worker of group orders runs", frame.ExitError}, []any{o.Outcome, o.Detail, r.status})
	require.Contains(t, o.Remedy, "start a process of the group")
	var d deadletters.Detail
	g.decode(&d, "show", id(other))
	require.Equal(t, "Compensate", d.Pending[0].Name)

	g.workForGroup()
	g.list(count(1), "--state", "compensated")
	g.set(parcel.ID, "no undo")
	o, r = g.one("compensate", id(parcel), "--wait", "1m")
	require.Equal(t, []any{actions.FailedAgain, frame.ExitError}, []any{o.Outcome, r.status})
	require.Contains(t, o.Detail, "the parcel has left")
	g.set(parcel.ID, "")
	o, r = g.one("compensate", id(parcel), "--wait", "1m")
	require.Equal(t, []any{actions.Compensated, frame.ExitOK}, []any{o.Outcome, r.status})
}

func TestLostDeadLettersAreTakenUp(t *testing.T) {
	g := newGraveyard(t)
	one, two, three := g.ghost("one", nil), g.ghost("two", nil), g.ghost("three", nil)
	g.bury(one, two, three)
	g.set(one.ID, silent)
	id := func(l holdfast.DeadLetter) string { return workflows.DeadLetterID(g.prefix, l) }
	o, _ := g.one("redeliver", id(one), "--wait", "0")
	require.Equal(t, actions.Redelivered, o.Outcome)
	for _, l := range []holdfast.DeadLetter{one, two} {
		require.NoError(t, g.c.TerminateWorkflow(t.Context(), id(l), "", "an accident"))
	}
	g.list(count(2), "--state", "terminated")
	var d deadletters.Detail
	r := g.decode(&d, "show", id(one))
	require.Equal(t, frame.ExitOK, r.status)
	require.Contains(t, d.Unknown, "holdfast dead restart "+id(one))

	o, r = g.one("restart", id(three))
	require.Equal(t, []any{actions.Refused, frame.ExitError}, []any{o.Outcome, r.status})
	o, r = g.one("restart", id(one))
	require.Equal(t, []any{actions.Restarted, frame.ExitOK}, []any{o.Outcome, r.status}, o)
	g.decode(&d, "show", id(one))
	require.Equal(t, "parked", d.State)
	require.Contains(t, d.Status.Reason, "its workflow was terminated, and started again by ann (claimed): test; redelivery 1 was not answered")
	g.set(one.ID, handled)
	o, _ = g.one("redeliver", id(one), "--wait", "2m")
	require.Equal(t, []any{actions.Handled, 2}, []any{o.Outcome, o.Redelivery}, "no number is used twice")

	g.list(count(1), "--state", "terminated")
	var all []actions.Outcome
	r = g.decode(&all, "redeliver", "--state", "terminated", "--yes", "--reason", "x", "--wait", "2m")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Equal(t, []any{two.ID, actions.Handled}, []any{all[0].ID, all[0].Outcome})
	require.Contains(t, all[0].Detail, "was terminated, and was started again")
	g.list(count(0), "--state", "terminated")
}

func TestNobodyServesDeadLetters(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	l := g.ghost("1", nil)
	g.bury(l)
	g.stop()
	r := g.holdfast("redeliver", "dead/payments/"+l.ID, "--reason", "x", "--timeout", "30s")
	require.Equal(t, frame.ExitError, r.status)
	require.Regexp(t, "unknown: no answer in time; |no worker serves", r.err)
	require.NotContains(t, r.out, "redelivered")

	g.prefix = stacktest.Prefix(t) // nobody has ever worked for it
	g.env = append(g.env, "HOLDFAST_PREFIX="+g.prefix)
	l = g.ghost("2", nil)
	g.bury(l)
	r = g.holdfast("discard", "dead/payments/"+l.ID, "--reason", "x")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "no worker serves the task queue "+g.prefix+"/dead-letters of dead letters: nothing was done; start a process with Temporal")
}

func TestShowADeadLettersTransaction(t *testing.T) {
	s := newShop(t)
	tx := s.send("A-9").TxID
	s.list(func(rows []transactions.Row) bool { return len(rows) == 1 && rows[0].Closed != nil })
	g := newGraveyard(t)
	g.prefix, g.env = s.prefix(), append(g.env, "HOLDFAST_PREFIX="+s.prefix())
	l := g.ghost("1", func(l *holdfast.DeadLetter) { l.TxID, l.Group = tx, s.group })
	g.bury(l)
	var d deadletters.Detail
	g.decode(&d, "show", l.ID)
	id := workflows.WorkflowID(s.prefix(), s.group, tx)
	require.Equal(t, &deadletters.Producer{Tx: tx, Group: s.group, WorkflowID: id, State: "committed", UI: d.Producer.UI}, d.Producer)
	require.Contains(t, d.Producer.UI, "http://ui.example/namespaces/default/workflows/"+s.prefix()+":tx%2F")
}
