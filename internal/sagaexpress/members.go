package sagaexpress

import (
	"slices"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
)

// The sagas that callers of this process have started into a cohort: who waits for one, until its cohort
// runs here, is found elsewhere, or is given up. What runs is in cohort.go.

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
