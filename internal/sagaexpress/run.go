package sagaexpress

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// Run is a saga that this process runs, or that it has started for a cohort.
type Run struct {
	lane   *Lane
	half   holdfast.Half // of a member of a cohort, its TxID is the holder
	plan   *core.Plan
	ref    activities.SagaRef
	m      *core.Machine // its driver's
	calls  string        // what the tokens of its calls are made of
	begun  bool          // it has its begin row
	ended  bool          // which says that it has completed
	before bool          // it was begun before, by whom is not known
	seat   *seat         // in the cohort that drives it here; nil: it has none
	until  time.Time     // when who comes after this process hands it over

	release func() // of its room in this process; nil: it has none
	onLeft  func() // called when left is closed; nil: nobody wants that

	step    atomic.Pointer[string] // one that is under way
	leave   atomic.Pointer[request]
	applied bool // the machine has what leave asks for
	taken   bool // the workflow was started with it; valid once left is closed
	lost    bool // another drives the saga
	refused atomic.Pointer[error]
	lostIn  atomic.Pointer[string]

	withdrawn atomic.Bool

	started chan struct{} // closed when its cohort is durably started, or is not; nil: it has none
	tried   chan struct{} // closed when the first steps have been tried
	untold  sync.Once     // closes tried
	forgone chan struct{} // closed when it is not known to run here
	left    chan struct{} // closed when it has ended here, or goes on in a workflow
	gone    sync.Once     // closes left
}

func newRun(l *Lane, plan *core.Plan, id string, half holdfast.Half) *Run {
	s := half.Saga
	return &Run{lane: l, half: half, until: half.At.Add(l.o.CheckAfter), plan: plan, m: core.New(plan, s.State),
		calls: uuid.NewString(),
		ref: activities.SagaRef{ID: id, Workflow: id, Group: l.o.Group, Key: s.Key, Name: s.Name, Version: s.Version,
			Database: half.Database, Content: sagas.ContentOf(s.State), Trace: s.Trace},
		tried: make(chan struct{}), forgone: make(chan struct{}), left: make(chan struct{})}
}

// Left is closed when the saga has ended in this process, or goes on elsewhere.
func (r *Run) Left() <-chan struct{} { return r.left }

// request is an operator's, for whom the saga goes on in a workflow.
type request struct {
	story sagas.Event
	event core.Event // empty: the workflow is asked
	slow  bool       // nobody asks: its cohort does not wait for it
}

// Leave has the saga go on in a workflow after the steps that are under way, and there as
// an operator asks: a pause and a compensation begin here, so that nothing comes between. It
// reports false where somebody has asked before: the workflow is to be asked then.
func (r *Run) Leave(action string, by sagas.Request) bool {
	asked := &request{story: sagas.Event{At: time.Now(), What: action, Operator: by.Operator, Text: by.Reason}}
	if kind := core.EventKind(action); kind == core.Pause || kind == core.Undo {
		asked.event = core.Event{Kind: kind, Operator: by.Operator, Reason: by.Reason}
	}
	return r.leave.CompareAndSwap(nil, asked)
}

// Taken reports whether what Leave asked for is done. Left has to be closed.
func (r *Run) Taken() bool { return r.taken }

// Refused is why this start was none of this saga's: its key is somebody else's. nil: it is
// this saga's, as far as is known.
func (r *Run) Refused() error {
	if err := r.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// ID is the saga's ID.
func (r *Run) ID() string { return r.ref.ID }

// Refuse says that it is none of this saga's, or was not started.
func (r *Run) Refuse(err error) { r.refuse(err) }

func (r *Run) refuse(err error) { r.refused.CompareAndSwap(nil, &err) }

// Lose says that the workflow of its cohort has ended without a result, and does not see to it.
func (r *Run) Lose(workflow string) { r.lostIn.Store(&workflow) }

// LostIn is what [Run.Lose] was told; empty: nothing.
func (r *Run) LostIn() string {
	if in := r.lostIn.Load(); in != nil {
		return *in
	}
	return ""
}

// IsFor reports whether it was started with this state.
func (r *Run) IsFor(state []byte) bool { return sagas.ContentOf(state) == r.ref.Content }

// Standing says how the saga stands while this process runs it.
func (r *Run) Standing() holdfast.SagaStanding {
	s := holdfast.SagaStanding{ID: r.ref.ID, State: holdfast.SagaRunning}
	if step := r.step.Load(); step != nil {
		s.Step = *step
	}
	return s
}

// run drives the saga to its end, or hands it over.
func (r *Run) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer r.depart()
	go func() {
		select {
		case <-r.lane.o.Gate.Over():
			cancel()
		case <-ctx.Done():
		}
	}()
	why := r.drive(ctx)
	if r.mine() && r.m.State().Phase == core.Completed {
		var err error
		if !r.ended {
			err = r.end(ctx)
		}
		switch {
		case err == nil:
			r.lane.o.Completed(r.ref, r.half.At, r.m.State().Data)
			fault.Point(fault.CommitAfterConfirm)
			r.settle(holdfast.Commit, activities.SagaMemberEnd{State: activities.MemberCompleted, Last: r.last()})
			return
		case errors.Is(err, barrier.ErrNotHeld):
			r.lost = true
		default:
			why = "that it has completed could not be kept: " + err.Error()
		}
	}
	var err error
	end := activities.SagaMemberEnd{State: activities.MemberLeft, Why: why}
	if r.mine() {
		err = r.handOver(ctx, why)
	}
	if r.lost {
		end, err = r.follow(ctx)
	}
	switch {
	case errors.Is(err, holdfast.ErrDuplicate): // the Keeper makes it a dead letter
		r.refuse(err)
		r.seat.end(activities.SagaMemberEnd{State: activities.MemberRefused, Why: err.Error()})
	case r.Refused() != nil:
		r.settle(holdfast.Rollback, activities.SagaMemberEnd{State: activities.MemberRefused, Why: r.Refused().Error()})
	case err == nil && r.mine():
		r.settle(holdfast.Commit, end)
	case err == nil:
		r.settle(holdfast.Rollback, end)
	default:
		r.seat.end(activities.SagaMemberEnd{State: activities.MemberLeaving, Why: why + ": " + err.Error()})
	}
}

// last is all that is known of it, in JSON, for its cohort.
func (r *Run) last() json.RawMessage {
	if r.seat == nil {
		return nil
	}
	last, err := json.Marshal(r.m.State())
	if err != nil { // it was kept before
		return nil
	}
	return last
}

// depart says that the saga is not in this process any more.
func (r *Run) depart() {
	r.gone.Do(func() {
		close(r.left)
		if r.release != nil {
			r.release()
		}
		if r.onLeft != nil {
			r.onLeft()
		}
	})
}

// OnLeft has f called when Left is closed. It is for who starts the saga, before it does.
func (r *Run) OnLeft(f func()) { r.onLeft = f }

// mine reports whether this start drives the saga, as far as is known.
func (r *Run) mine() bool { return !r.lost && r.Refused() == nil }

// follow leaves the saga to who drives it, or tells how it has ended. Of another start, that
// start's half record or cohort sees to its end; but who took it for a workflow may not have
// started that.
func (r *Run) follow(ctx context.Context) (end activities.SagaMemberEnd, err error) {
	err = r.again(ctx, func() (done bool, err error) {
		b, err := barrier.ReadBegun(ctx, r.lane.o.DB, r.ref.ID)
		if err != nil {
			return false, err
		}
		if r.deserted(ctx, b.Holder) {
			if b, _, err = barrier.TakeSaga(ctx, r.lane.o.DB, r.ref.ID, b.Holder, b, takeWait); err != nil {
				return false, err
			}
		}
		switch {
		case b.Holder == barrier.HolderWorkflow:
			_, err = r.lane.o.HandOver(ctx, r.begunBefore(b))
			end = activities.SagaMemberEnd{State: activities.MemberLeft, Why: "it was begun before, and not completed"}
			return err == nil, err
		case b.Holder == "":
			var last core.State
			if err := json.Unmarshal(b.Last, &last); err != nil {
				return false, holdfast.Permanent(err)
			}
			end = activities.SagaMemberEnd{State: activities.MemberCompleted, Last: b.Last}
			if b.Ender == r.half.TxID { // by this start, which was not told so
				r.lane.o.Completed(r.ref, r.half.At, last.Data)
			} else {
				end.Why = "before"
				r.lane.o.Joined(r.ref.ID, last.Data)
			}
		case b.Holder == r.half.TxID:
			return false, errors.New("it is held by this start after all")
		default:
			end = activities.SagaMemberEnd{State: activities.MemberElsewhere,
				Why: "another start of its key drives it: " + b.Holder}
		}
		return true, nil
	})
	return end, err
}

// begunBefore is the input of the workflow that carries on what another start has begun, by the
// version that it began: what was done, the rows tell.
func (r *Run) begunBefore(b barrier.BegunSaga) sagas.Input {
	in, start, o := r.input(), b.Started(*r.half.Saga), r.lane.o
	in.Data, in.Again, in.Tokens = start.State, true, start.Tokens
	if start.Version != in.Version {
		in.Version, in.StepNames = start.Version, false
		if in.Plan = o.Plan(start.Name, start.Version); in.Plan != nil { // else the workflow finds it
			in.StepNames = o.StepNames(*in.Plan)
		}
	}
	return in
}

// deserted reports whether a saga's holder is a cohort whose workflow has ended from outside,
// or an attempt of this one's before: nobody sees to its end any more.
func (r *Run) deserted(ctx context.Context, holder string) bool {
	if !IsCohort(holder) || holder == r.half.TxID {
		return false
	}
	return cohortOf(holder) == cohortOf(r.half.TxID) || r.lane.o.Deserted(ctx, holder)
}

// again repeats try until it says that all is done, which is no error. It gives up where the
// Keeper's time comes, or that of the process is over, and at what no repetition mends.
func (r *Run) again(ctx context.Context, try func() (done bool, err error)) error {
	ctx, cancel := context.WithDeadline(ctx, r.until)
	defer cancel()
	pause := backoff.NewExponentialBackOff()
	for {
		done, err := try()
		if done || holdfast.IsPermanent(err) || errors.Is(err, holdfast.ErrDuplicate) {
			return err
		}
		r.lane.o.Logger.Debug("a saga could not be handed over yet", "saga", r.ref.ID, "error", err)
		select {
		case <-time.After(pause.NextBackOff()):
		case <-r.lane.o.Gate.Stopping():
			return holdfast.ErrNotRunning
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settle says that nothing is left to do for this start, to its half record or its cohort.
func (r *Run) settle(o holdfast.Resolution, end activities.SagaMemberEnd) {
	if r.seat != nil {
		r.seat.end(end)
		return
	}
	r.lane.broker.Settle(r.ref.Group, r.half.TxID, o)
}

// begunSaga is what its begin row keeps while this start drives it.
func (r *Run) begunSaga() barrier.BegunSaga {
	return barrier.BegunSaga{SagaStart: *r.half.Saga, Content: r.ref.Content, Holder: r.half.TxID}
}

// end keeps that the saga has completed: until then nobody is told.
func (r *Run) end(ctx context.Context) error {
	last, err := json.Marshal(r.m.State())
	if err != nil {
		return err
	}
	return barrier.EndSaga(ctx, r.lane.o.DB, r.ref.ID, r.begunSaga(), last)
}

// tell lets go who started it: it is known whether the key is somebody else's.
func (r *Run) tell() { r.untold.Do(func() { close(r.tried) }) }

// handOver has the workflow Saga carry on with what is known here, once nobody drives it
// any more. Where Temporal does not take it in time, the Keeper hands over what the half
// record says.
func (r *Run) handOver(ctx context.Context, why string) error {
	in, held := r.carryOn(why), false
	return r.again(ctx, func() (done bool, err error) {
		if !held {
			_, held, err = barrier.TakeSaga(ctx, r.lane.o.DB, r.ref.ID, r.half.TxID, r.begunSaga(), takeWait)
			switch {
			case errors.Is(err, barrier.ErrNotHeld), err == nil && !held:
				r.lost = true
				return true, nil
			case errors.Is(err, holdfast.ErrDuplicate):
				r.refuse(err)
				return true, nil
			case err != nil:
				return false, err
			}
			fault.Point(fault.SagaTaken)
		}
		started, err := r.lane.o.HandOver(ctx, in)
		r.taken = r.applied && !r.before && started && err == nil
		return err == nil, err
	})
}

// input is that of the workflow that carries the saga on, without what is known of it.
func (r *Run) input() sagas.Input {
	o := r.lane.o
	return sagas.Input{ID: r.ref.ID, Group: o.Group, Prefix: o.Prefix, Name: r.ref.Name, Key: r.ref.Key, Plan: r.plan,
		Version: r.ref.Version, Database: r.ref.Database, Tokens: r.half.Saga.Tokens, StepNames: o.StepNames(*r.plan),
		Content: r.ref.Content, Begun: true,
		Began: r.half.At, Trace: r.ref.Trace}
}

// where says what the saga runs in.
func (r *Run) where() string {
	if r.seat != nil {
		return "workflow " + r.seat.in.workflow
	}
	return "the Express lane"
}

// carryOn is the input of the workflow that carries the saga on with what is known here.
func (r *Run) carryOn(why string) sagas.Input {
	in := r.input()
	if r.before { // what it did then, the rows tell
		in.Data, in.Again = r.half.Saga.State, true
		return in
	}
	known := sagas.Status{Core: *r.m.State(), Database: r.ref.Database, Story: []sagas.Event{{At: time.Now(),
		What: "handed-over", Text: "process " + r.lane.o.Instance + " ran it in " + r.where() + ": " + why}}}
	if r.applied {
		by := r.leave.Load().story
		known.State, known.Reason = r.m.Standing(), by.Operator+": "+by.Text
		known.Story = append(known.Story, by)
	}
	in.Resumed, in.Renewed, in.Calls = &known, true, r.calls
	return in
}
