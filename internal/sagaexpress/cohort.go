package sagaexpress

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/brief"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/saga/core"
)

// A cohort's holder names its workflow and the attempt to drive it: the process that takes over
// from a lost one must not be taken for that.
const cohortHolder = "cohort/"

// IsCohort reports whether a begin row's holder is a cohort.
func IsCohort(holder string) bool { return strings.HasPrefix(holder, cohortHolder) }

// cohortOf is what was made for the workflow of a cohort that is a holder.
func cohortOf(holder string) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(holder, cohortHolder), "/")
	return id
}

// CohortWorkflow returns the ID of the workflow of a cohort that is a holder.
func CohortWorkflow(holder string, workflowID func(id string) string) string {
	return workflowID(cohortOf(holder))
}

// newHolder is the holder of an attempt to drive the cohort of that workflow.
func newHolder(workflow string) string {
	return cohortHolder + workflow[strings.LastIndexByte(workflow, '/')+1:] + "/" + uuid.NewString()[:8]
}

// How long a round waits for its members: until half of them have come through, as long
// again and a little, and cohortPatience at most. A reply is waited for that long, too.
const (
	cohortPatience = 1500 * time.Millisecond
	maxWhy         = 500
)

// cohort is the members of a workflow that this process drives.
type cohort struct {
	workflow string

	mu    sync.Mutex
	moved chan struct{} // closed when a member has moved
	seats map[string]*seat
}

// seat is a member of a cohort. Its methods do nothing where it is nil.
type seat struct {
	in     *cohort
	run    *Run // nil: it cannot run here
	rounds [][]activities.SagaMemberStep
	over   *activities.SagaMemberEnd // how it has ended here; nil: it runs
}

// did notes how a step's try ended.
func (s *seat) did(step string, o core.Outcome, took time.Duration) {
	s.didAll([]activities.SagaMemberStep{stepEnd(step, o, took)})
}

func stepEnd(step string, o core.Outcome, took time.Duration) activities.SagaMemberStep {
	return activities.SagaMemberStep{Step: step, Outcome: string(o.Kind), Error: brief.Text(o.Error, maxWhy),
		Millis: took.Milliseconds()}
}

func (s *seat) didAll(steps []activities.SagaMemberStep) {
	if s == nil {
		return
	}
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	last := len(s.rounds) - 1
	s.rounds[last] = append(s.rounds[last], steps...)
}

// pass says that the member has come through a round.
func (s *seat) pass() {
	if s == nil {
		return
	}
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	s.rounds = append(s.rounds, nil)
	s.in.move()
}

// end says how the member has ended here.
func (s *seat) end(e activities.SagaMemberEnd) {
	if s == nil {
		return
	}
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	e.Why = brief.Text(e.Why, maxWhy)
	s.over = &e
	s.in.move()
}

// move tells who waits for a member. The lock is held.
func (c *cohort) move() {
	close(c.moved)
	c.moved = make(chan struct{})
}

// Round is [activities.SagaRound]. The first round begins the members; they go through the
// next ones by themselves, so that nobody waits for another, and a round tells what they did
// in it. Only the process that began them knows how far they are: for any other they leave.
func (l *Lane) Round(ctx context.Context, in activities.SagaCohort) (activities.SagaMemberEnds, error) {
	c, err := l.cohort(ctx, in)
	if err != nil {
		return activities.SagaMemberEnds{}, err
	}
	if c != nil {
		c.await(ctx, in, l.Patience)
	}
	out, rest := activities.SagaMemberEnds{Members: make([]activities.SagaMemberEnd, len(in.Members))}, 0
	for i, m := range in.Members {
		if out.Members[i] = c.told(m.ID, in.Round); !out.Members[i].Settled() {
			rest++
		}
	}
	fault.Point(fault.SagaRoundTold)
	if rest == 0 {
		l.forget(in)
	}
	return out.Fitting(), nil
}

func cohortKey(in activities.SagaCohort) string { return in.Workflow + "\n" + in.Run }

// forget drops a cohort: a round that is asked for again finds what the rows say.
func (l *Lane) forget(in activities.SagaCohort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.cohorts, cohortKey(in))
}

// cohort is the one that this process drives, which the first round makes; nil: it drives none.
func (l *Lane) cohort(ctx context.Context, in activities.SagaCohort) (*cohort, error) {
	if err := l.o.Gate.Enter(ctx); err != nil { // it stops
		return nil, err
	}
	defer l.o.Gate.Leave()
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.cohorts[cohortKey(in)]; c != nil || in.Round > 1 {
		return c, nil
	}
	c := &cohort{workflow: in.Workflow, moved: make(chan struct{}), seats: map[string]*seat{}}
	l.cohorts[cohortKey(in)] = c
	holder, expected := newHolder(in.Workflow), l.expected[in.Workflow]
	delete(l.expected, in.Workflow)
	for _, m := range in.Members {
		s := &seat{in: c, rounds: [][]activities.SagaMemberStep{nil}}
		c.seats[m.ID] = s
		if s.run = expected[m.ID]; s.run == nil {
			s.run = l.foreign(in, m, s)
		}
		if s.run != nil {
			s.run.half.TxID, s.run.seat = holder, s
			s.run.until = time.Now().Add(l.o.CheckAfter)
			l.running[m.ID] = s.run
		}
	}
	l.drive(context.WithoutCancel(ctx), in, c)
	return c, nil
}

// foreign is a member that another process has started; nil: it cannot run here, and its seat
// says why.
func (l *Lane) foreign(in activities.SagaCohort, m activities.SagaMember, s *seat) *Run {
	no := func(why string) *Run {
		s.over = &activities.SagaMemberEnd{State: activities.MemberLeaving, Why: why}
		return nil
	}
	plan := l.o.Plan(m.Start.Name, m.Start.Version)
	switch {
	case !l.Has(in.Database):
		return no("process " + l.o.Instance + " does not have the saga's database")
	case plan == nil:
		return no(fmt.Sprintf("process %s does not have saga %s version %d", l.o.Instance, m.Start.Name, m.Start.Version))
	}
	select {
	case l.slots <- struct{}{}:
	default:
		return no(fmt.Sprintf("process %s runs %d sagas, as many as Tuning.MaxSagas allows", l.o.Instance, l.o.Most))
	}
	r := newRun(l, plan, m.ID, holdfast.Half{Group: in.Group, At: m.Began, Database: in.Database, Saga: &m.Start})
	r.release = l.release
	return r
}

// forgetAfter is how long a cohort whose members have all ended is kept for a round that has
// not told of them.
const forgetAfter = 10 * time.Second

// drive runs the members. The lock is held.
func (l *Lane) drive(ctx context.Context, in activities.SagaCohort, c *cohort) {
	var rest atomic.Int32
	rest.Store(1)
	done := func() {
		if rest.Add(-1) == 0 {
			time.AfterFunc(forgetAfter, func() { l.forget(in) })
		}
	}
	defer done()
	for _, s := range c.seats {
		if s.run == nil {
			continue
		}
		rest.Add(1)
		l.o.Gate.Go(func() {
			defer done()
			defer l.leave(s.run)
			s.run.run(ctx)
		})
	}
}

// await waits until the members have come through the round. Those that take longer leave: wait,
// if not 0, is how long.
func (c *cohort) await(ctx context.Context, in activities.SagaCohort, wait time.Duration) {
	began, half := time.Now(), wait != 0
	patience := time.NewTimer(cmp.Or(wait, cohortPatience))
	defer patience.Stop()
	for {
		slow, moved := c.slow(in)
		if len(slow) == 0 {
			return
		}
		if !half && 2*len(slow) <= len(in.Members) {
			half = true
			took := time.Since(began)
			patience.Reset(max(min(2*took+200*time.Millisecond, cohortPatience)-took, 0))
		}
		select {
		case <-moved:
			continue
		case <-patience.C:
		case <-ctx.Done():
		}
		for _, s := range slow {
			s.run.leaveSlow()
		}
		return
	}
}

// slow are the members that are not through the round, and moved is closed when one moves.
func (c *cohort) slow(in activities.SagaCohort) (all []*seat, moved <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range in.Members {
		if s := c.seats[m.ID]; s != nil && s.over == nil && len(s.rounds) <= in.Round {
			all = append(all, s)
		}
	}
	return all, c.moved
}

// told is what a round tells of a member.
func (c *cohort) told(id string, round int) (out activities.SagaMemberEnd) {
	out = activities.SagaMemberEnd{ID: id, State: activities.MemberLeaving,
		Why: "the process that ran it does not any more"}
	if c == nil {
		return out
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.seats[id]
	if s == nil {
		return out
	}
	switch {
	case len(s.rounds) > round:
		out.State, out.Why = activities.MemberRuns, ""
	case s.over != nil:
		out = *s.over
		out.ID = id
	default:
		out.Why = "it takes longer than its cohort waits"
	}
	if round <= len(s.rounds) {
		out.Steps = slices.Clone(s.rounds[round-1])
	}
	return out
}

// leaveSlow has the saga go on in a workflow after the steps that are under way.
func (r *Run) leaveSlow() { r.leave.CompareAndSwap(nil, &request{slow: true}) }
