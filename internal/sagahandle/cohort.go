package sagahandle

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/sagaexpress"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagacohort"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// isCohort reports whether sagas of this definition share workflows.
func (h *Handles) isCohort(c *saga.Compiled) bool {
	return c != nil && h.o.Express != nil && h.o.MaxCohort > 1 && c.Plan.Cohort && h.o.Express.Takes(&c.Plan)
}

// triedWithin is how long the first steps of a saga are waited for whose cohort runs elsewhere.
const triedWithin = time.Second

// hasWorkflow reports whether a saga has a workflow of its own, before it gathers. Workflows of this
// version take the saga's begin row, which decides who drives it; one that an earlier version has
// started knows nothing of the row. But no such process runs beside this one, so that workflow
// was there before this process, and is found here: see docs/decisions/saga-cohorts.md. An error
// means that nothing was begun.
func (h *Handles) hasWorkflow(ctx context.Context, id string, data json.RawMessage) (bool, error) {
	if r := h.running(id); r != nil && r.IsFor(data) { // it was looked for before
		return false, nil
	}
	_, err := h.describeOnce(ctx, id)
	has := err == nil
	if errors.Is(err, holdfast.ErrNotFound) {
		_, has, err = workflows.Before(ctx, h.o.Temporal, h.o.Prefix, id)
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", holdfast.ErrNotStored,
			temporalerr.Unavailable("look for the workflow of saga "+id, err))
	}
	return has, nil
}

// startMember starts a saga with those that are started at the same moment, for a caller who is
// counted at the gate.
func (h *Handles) startMember(ctx context.Context, c *saga.Compiled, in sagas.Input) (id string, end *End, err error) {
	id, data := in.ID, in.Data
	end = h.ends.expect(id)
	end.run = h.running(id)
	first := end.run == nil || !end.run.IsFor(data)
	if first {
		release, err := h.o.Express.Room(ctx)
		if err != nil {
			h.ends.forget(end)
			return "", nil, err
		}
		end.run, first = h.o.Express.NewMember(&c.Plan, id,
			holdfast.SagaStart{Name: c.Plan.Name, Version: c.Plan.Version, Key: in.Key, State: data, Trace: in.Trace}, release)
		if first { // else somebody came before while this one waited for room
			h.gatherer.enter(end.run)
		}
	}
	select {
	case <-end.run.Started():
	case <-ctx.Done():
		return "", nil, h.givesUp(end, first, temporalerr.Unavailable("start saga "+id, context.Cause(ctx)))
	case <-h.o.Gate.Over():
		return "", nil, h.givesUp(end, first, h.o.Gate.Ended())
	}
	late := time.NewTimer(triedWithin)
	defer late.Stop()
	select {
	case <-end.run.Tried():
	case <-late.C:
		err = h.othersKey(ctx, id, c, data)
	case <-ctx.Done():
	}
	if err = cmp.Or(err, end.run.Refused()); err != nil {
		h.ends.forget(end)
		if !first && end.run.Withdrawn() { // by who started it: this caller still wants it
			return h.startMember(ctx, c, in)
		}
		return "", nil, err
	}
	if first {
		h.o.Metrics.SagaStarted(c.Plan.Name)
	}
	return id, end, nil
}

// givesUp is why, for a caller who does not wait any more for the start of a saga. Where that was
// the first, and nobody has begun to start it, nobody will.
func (h *Handles) givesUp(end *End, first bool, why error) error {
	h.ends.forget(end)
	if first && h.gatherer.withdraw(end.run) {
		why = fmt.Errorf("%w: saga %s: %w", holdfast.ErrNotStored, end.id, why)
		h.o.Express.Withdraw(end.run, why)
	}
	return why
}

// startBatch starts the workflow that b shares, and returns once it does not count as in
// flight any more and each member runs in this process or has ended.
func (h *Handles) startBatch(b batch) {
	ctx, cancel := context.WithTimeout(context.Background(), startBatchWithin)
	defer cancel()
	left := make(chan struct{}, len(b.members))
	for _, r := range b.members {
		r.OnLeft(func() { left <- struct{}{} })
	}
	h.o.Express.Expect(b.workflow, b.members)
	in := sagacohort.Input{Group: h.o.Group, Prefix: h.o.Prefix, Database: h.o.Database()}
	for _, r := range b.members {
		in.Members = append(in.Members, r.Member())
	}
	run, err := h.o.Temporal.ExecuteWorkflow(ctx, sagacohort.StartOptions(b.workflow, in, h.o.TaskTimeout),
		sagacohort.Name, in)
	if err != nil {
		err = temporalerr.Unavailable(fmt.Sprintf("start a cohort of %d sagas", len(b.members)), err)
	}
	if errors.Is(err, holdfast.ErrInvalid) && len(b.members) > 1 { // too much together, but perhaps not alone
		h.o.Express.Unexpect(b.workflow)
		h.gatherer.startAlone(b.members)
		return
	}
	h.o.Express.Started(b.workflow, b.members, err)
	if err == nil {
		finding, found := context.WithCancel(context.Background())
		defer found()
		go h.findMembers(finding, b)
		h.awaitMost(left)
	}
	h.gatherer.freed()
	if err == nil && h.awaitBatch(b, triedWithin) {
		h.o.Express.Unexpect(b.workflow) // another process may have run them all
		return
	}
	h.abandon(b, run)
}

// awaitMost waits until a cohort does not count as in flight any more: until half of its members
// have ended here, as long again and a little, and for cohortGrace at most. left brings one that
// has ended, of as many as it has room for.
func (h *Handles) awaitMost(left <-chan struct{}) {
	began, grace := time.Now(), cmp.Or(h.Grace, cohortGrace)
	late := time.NewTimer(grace)
	defer late.Stop()
	for ended := 0; ended < cap(left); {
		select {
		case <-left:
			if ended++; ended == (cap(left)+1)/2 {
				took := time.Since(began)
				late.Reset(max(min(took+cohortSlack, grace-took), 0))
			}
		case <-late.C:
			return
		case <-h.o.Gate.Stopping():
			return
		}
	}
}

// startBatchWithin bounds the start of a cohort's workflow.
const startBatchWithin = 30 * time.Second

// awaitBatch waits until all members have ended here, and reports whether they have, or at
// least run here when d has passed.
func (h *Handles) awaitBatch(b batch, d time.Duration) bool {
	late := time.NewTimer(d)
	defer late.Stop()
	for _, r := range b.members {
		select {
		case <-r.Left():
		case <-late.C:
			return h.o.Express.Drives(b.members)
		case <-h.o.Gate.Stopping():
			return h.o.Express.Drives(b.members)
		}
	}
	return true
}

// abandon waits for the end of a cohort that does not run in this process, and tells the
// members' callers of it. run is nil where the cohort may not have been started.
func (h *Handles) abandon(b batch, run client.WorkflowRun) {
	var out sagacohort.Result
	lost := false
	h.o.Express.Forgo(b.members)
	if run != nil {
		ctx, cancel := context.WithCancel(context.Background())
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			select {
			case <-h.o.Gate.Stopping():
				cancel()
			case <-ctx.Done():
			}
		}()
		lost = final(run.Get(ctx, &out)) // whatever it does not tell, the begin rows do
		cancel()
		<-stopped
	}
	h.o.Express.Abandon(b.workflow, b.members, func(r *sagaexpress.Run) {
		switch e, _ := out.Of(r.ID()); {
		case lost:
			r.Lose(b.workflow)
		case e.State == activities.MemberRefused:
			r.Refuse(fmt.Errorf("%w: %s", holdfast.ErrDuplicate, e.Why))
		case e.State == activities.MemberCompleted:
			var last core.State
			if json.Unmarshal(e.Last, &last) == nil { // else the begin row has it
				h.Completed(e.ID, last.Data)
			}
		}
	})
}

// How often the begin rows are read of sagas whose cohort runs in another process: at first, and
// in the end.
const (
	findFirst = 250 * time.Millisecond
	findEvery = 2 * time.Second
)

// findMembers tells the callers of those members of a cohort that another process runs which end
// there or get a workflow of their own, as their begin rows tell: the cohort ends with its slowest.
// Where this process runs it, it does nothing.
func (h *Handles) findMembers(ctx context.Context, b batch) {
	members := b.members
	for wait := findFirst; pause(ctx, wait); wait = min(2*wait, findEvery) {
		members = h.o.Express.Elsewhere(members)
		if len(members) == 0 {
			return
		}
		for _, r := range members {
			row, err := h.o.Express.Begun(ctx, r.ID())
			var last core.State
			switch {
			case err != nil: // it has not begun, or is asked for again
			case row.Content != r.Content():
				h.o.Express.Found(b.workflow, r,
					fmt.Errorf("%w: saga %s was started with other content", holdfast.ErrDuplicate, r.ID()))
			case row.Last != nil && json.Unmarshal(row.Last, &last) == nil:
				h.Completed(r.ID(), last.Data)
				h.o.Express.Found(b.workflow, r, nil)
			case row.Holder == barrier.HolderWorkflow:
				h.o.Express.Found(b.workflow, r, nil)
			}
		}
	}
}

// Deserted reports whether the workflow of the cohort that holds a saga has ended: then nobody
// sees to the saga's end.
func (h *Handles) Deserted(ctx context.Context, holder string) bool {
	if !sagaexpress.IsCohort(holder) {
		return false
	}
	d, err := h.describeOnce(ctx, sagaexpress.CohortWorkflow(holder, h.cohortID))
	return errors.Is(err, holdfast.ErrNotFound) || err == nil && d.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
}

// Round is [activities.SagaRound].
func (h *Handles) Round(ctx context.Context, in activities.SagaCohort) (activities.SagaMemberEnds, error) {
	return h.o.Express.Round(ctx, in)
}

// leavingAtOnce is how many members of a cohort are given their workflows at a time.
const leavingAtOnce = 16

// Leave is [activities.SagaLeave]. Temporal repeats it until all have their workflows: those that
// have are found so.
func (h *Handles) Leave(ctx context.Context, in activities.SagaCohort) (activities.SagaMemberEnds, error) {
	if !h.o.Express.Has(in.Database) {
		return activities.SagaMemberEnds{}, ErrElsewhere
	}
	out := activities.SagaMemberEnds{Members: make([]activities.SagaMemberEnd, len(in.Members))}
	errs := make([]error, len(in.Members))
	var all errgroup.Group
	room := make(chan struct{}, leavingAtOnce)
	for i, m := range in.Members {
		all.Go(func() error {
			h.awaitMember(ctx, in, m) // takes no room: one that is slow does not hold up the others
			room <- struct{}{}
			defer func() { <-room }()
			out.Members[i], errs[i] = h.leaveMember(ctx, in, m)
			return nil
		})
	}
	_ = all.Wait()
	if err := errors.Join(errs...); err != nil {
		return activities.SagaMemberEnds{}, err
	}
	return out.Fitting(), nil
}

// awaitMember waits a moment for a member that this process runs: that knows more than the rows.
func (h *Handles) awaitMember(ctx context.Context, in activities.SagaCohort, m activities.SagaMember) {
	if r := h.running(m.ID); r != nil && r.In(in.Workflow) {
		select {
		case <-r.Left():
		case <-time.After(askFor):
		case <-ctx.Done():
		}
	}
}

// leaveMember gives a member its workflow, as the Keeper does with what a process of the
// Express lane has left.
func (h *Handles) leaveMember(ctx context.Context, in activities.SagaCohort, m activities.SagaMember) (
	end activities.SagaMemberEnd, err error) {
	end.ID = m.ID
	row := barrier.BegunSaga{SagaStart: m.Start, Content: sagas.ContentOf(m.Start.State)}
	found, err := h.o.Express.Take(ctx, m.ID, row, keeperWait)
	switch {
	case errors.Is(err, holdfast.ErrDuplicate):
		end.State, end.Why = activities.MemberRefused, err.Error()
		return end, nil
	case err != nil:
		return end, err
	case found.Last != nil:
		end.State, end.Last = activities.MemberCompleted, found.Last
		return end, nil
	}
	end.State = activities.MemberLeft
	d, err := h.describeOnce(ctx, m.ID)
	switch {
	case err == nil && d.WorkflowStartTime.After(m.Began): // by who ran it; one from before may be another's
		return end, nil
	case err != nil && !errors.Is(err, holdfast.ErrNotFound):
		return end, err
	}
	next := h.startedWith(m.ID, in.Database, found.Started(m.Start))
	next.Began = m.Began
	if _, err = h.HandOver(ctx, next); errors.Is(err, holdfast.ErrDuplicate) {
		end.State, end.Why, err = activities.MemberRefused, err.Error(), nil
	}
	return end, err
}
