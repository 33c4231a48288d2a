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

// NewMember is a saga that is to share a workflow. Until [Lane.Abandon] or its end it is
// what joins other starts of its key in this process. release gives its room back. Where another
// start with this state runs by now, it is that one, and first is false.
func (l *Lane) NewMember(plan *core.Plan, id string, s holdfast.SagaStart, release func()) (r *Run, first bool) {
	s.Tokens = l.o.Tokens
	r = newRun(l, plan, id, holdfast.Half{Group: l.o.Group, At: time.Now(), Database: l.o.Database(), Saga: &s})
	r.started, r.release = make(chan struct{}), release
	if other := l.enterFirst(r); other != nil {
		release()
		return other, false
	}
	return r, true
}

// enterFirst is enter, but where another start of the saga with its state runs: it returns that.
func (l *Lane) enterFirst(r *Run) (other *Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other = l.running[r.ref.ID]; other != nil && other.ref.Content == r.ref.Content {
		return other
	}
	l.running[r.ref.ID] = r
	return nil
}

// Member is what its cohort is told of it.
func (r *Run) Member() activities.SagaMember {
	return activities.SagaMember{ID: r.ref.ID, Began: r.half.At, Start: *r.half.Saga}
}

// Started is closed when it is known whether the saga was durably started: Refused says why
// not.
func (r *Run) Started() <-chan struct{} {
	if r.started == nil {
		return r.lane.begun
	}
	return r.started
}

// Tried is closed when its first steps have been tried, or it does not run here any more.
func (r *Run) Tried() <-chan struct{} { return r.tried }

// Expect has these members run as they are, where this process drives the workflow.
func (l *Lane) Expect(workflow string, members []*Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]*Run{}
	for _, r := range members {
		all[r.ref.ID] = r
	}
	l.expected[workflow] = all
}

// Unexpect takes back Expect: the workflow was not started, and its members are in others, or they
// have all ended.
func (l *Lane) Unexpect(workflow string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.expected, workflow)
}

// Withdraw says that nobody starts the saga any more: err is why, for whoever has joined it.
func (l *Lane) Withdraw(r *Run, err error) {
	r.withdrawn.Store(true)
	r.refuse(err)
	l.leave(r)
	close(r.started)
	r.tell()
	r.depart()
}

// Withdrawn reports whether nobody starts the saga any more.
func (r *Run) Withdrawn() bool { return r.withdrawn.Load() }

// Started says whether the workflow of these members was started: err is why not, or why that
// is not known. Those that this process drives were. The others it will drive, if at all, as
// another process's: nobody waits for them.
func (l *Lane) Started(workflow string, members []*Run, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		delete(l.expected, workflow)
	}
	for _, r := range members {
		if err != nil && r.seat == nil {
			r.refuse(err)
		}
		close(r.started)
	}
}

// Forgo says that these members' cohort is not known to run in this process: of those that do not,
// others are asked how they stand, and who steers one does not wait for it here.
func (l *Lane) Forgo(members []*Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range members {
		if r.seat != nil {
			continue
		}
		if l.running[r.ref.ID] == r {
			delete(l.running, r.ref.ID)
		}
		select {
		case <-r.forgone:
		default:
			close(r.forgone)
		}
	}
}

// Forgone is closed when others are asked how the saga stands: see [Lane.Forgo].
func (r *Run) Forgone() <-chan struct{} { return r.forgone }

// Elsewhere are those of members that this process neither drives nor has seen ended.
func (l *Lane) Elsewhere(members []*Run) (others []*Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range members {
		select {
		case <-r.left:
		default:
			if r.seat == nil {
				others = append(others, r)
			}
		}
	}
	return others
}

// Found ends the waiting for a member of that workflow that goes on or has ended in another process,
// which its begin row tells: refused, if not nil, is why this start was none of that saga's. Of one
// that this process drives after all, its driver tells.
func (l *Lane) Found(workflow string, r *Run, refused error) {
	if !l.found(workflow, r) {
		return
	}
	if refused != nil {
		r.refuse(refused)
	}
	r.tell()
	r.depart()
}

func (l *Lane) found(workflow string, r *Run) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.seat != nil {
		return false
	}
	delete(l.expected[workflow], r.ref.ID) // it will not be driven as this start
	if l.running[r.ref.ID] == r {
		delete(l.running, r.ref.ID)
	}
	return true
}

// Content is the digest of what it was started with.
func (r *Run) Content() string { return r.ref.Content }

// Abandon ends the waiting for those members that this process does not drive. tell is called
// with each of them before.
func (l *Lane) Abandon(workflow string, members []*Run, tell func(r *Run)) {
	for _, r := range l.abandoned(workflow, members) {
		tell(r)
		r.tell()
		r.depart()
	}
}

func (l *Lane) abandoned(workflow string, members []*Run) (others []*Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.expected, workflow)
	for _, r := range members {
		if r.seat == nil {
			others = append(others, r)
			if l.running[r.ref.ID] == r {
				delete(l.running, r.ref.ID)
			}
		}
	}
	return others
}

// Drives reports whether all of these members run in this process, or did.
func (l *Lane) Drives(members []*Run) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !slices.ContainsFunc(members, func(r *Run) bool { return r.seat == nil })
}

// In reports whether the saga runs in the cohort with that workflow.
func (r *Run) In(workflow string) bool {
	r.lane.mu.Lock()
	defer r.lane.mu.Unlock()
	return r.seat != nil && r.seat.in.workflow == workflow
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
