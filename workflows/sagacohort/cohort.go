package sagacohort

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// Name is the name of the workflow type SagaCohort.
const Name = "SagaCohort"

// Input is the input of the workflow SagaCohort.
type Input struct {
	Group  string `json:"group"`
	Prefix string `json:"prefix,omitempty"` // empty means "holdfast"
	// Database is the identity of the database that the local steps run in.
	Database string                  `json:"database,omitempty"`
	Members  []activities.SagaMember `json:"members"`
}

func (in Input) validate() error {
	if err := holdfast.ValidateName("group", in.Group); err != nil {
		return err
	}
	if len(in.Members) == 0 {
		return fmt.Errorf("%w: a cohort of no sagas", holdfast.ErrInvalid)
	}
	for _, m := range in.Members {
		if err := m.Start.Validate(); err != nil {
			return err
		}
		if m.ID == "" {
			return fmt.Errorf("%w: saga %s has no ID", holdfast.ErrInvalid, m.Start.Name)
		}
	}
	return nil
}

// Result says how each member has ended here, in the order of the input.
type Result struct {
	Members []activities.SagaMemberEnd `json:"members"`
}

// Of returns how the member with that ID has ended here.
func (r Result) Of(id string) (end activities.SagaMemberEnd, ok bool) {
	i := slices.IndexFunc(r.Members, func(m activities.SagaMemberEnd) bool { return m.ID == id })
	if i < 0 {
		return end, false
	}
	return r.Members[i], true
}

// cohort is a run of the workflow.
type cohort struct {
	in   Input
	ends []activities.SagaMemberEnd // in the order of in.Members
	// lasts is how much is known of those that have completed, in bytes.
	lasts int
}

// SagaCohort has sagas run until each has ended, or goes on in a workflow Saga, and returns
// which. It fails only for an invalid input.
//
// A request to cancel it has those that have not ended leave: to compensate one, ask its own
// workflow.
func SagaCohort(ctx workflow.Context, in Input) (Result, error) {
	if err := in.validate(); err != nil {
		return Result{}, temporal.NewNonRetryableApplicationError(err.Error(), workflows.InvalidInput, err)
	}
	if in.Prefix == "" {
		in.Prefix = workflows.DefaultPrefix
	}
	c := &cohort{in: in, ends: make([]activities.SagaMemberEnd, len(in.Members))}
	for i, m := range in.Members {
		c.ends[i] = activities.SagaMemberEnd{ID: m.ID, State: activities.MemberRuns}
	}
	for round := 1; round <= core.MaxSteps+1 && c.any(activities.MemberRuns); round++ {
		if err := c.round(ctx, round); err != nil {
			break
		}
	}
	rest, _ := workflow.NewDisconnectedContext(ctx)
	if err := c.leave(rest); err != nil {
		return Result{}, err
	}
	return Result{Members: c.ends}, nil
}

func (c *cohort) any(state string) bool {
	return slices.ContainsFunc(c.ends, func(e activities.SagaMemberEnd) bool { return e.State == state })
}

const (
	// roundTimeout bounds a round, which gives up sooner by itself.
	roundTimeout = time.Minute
	// leaveTimeout bounds a try to have the members leave.
	leaveTimeout = 2 * time.Minute
)

// round has the members that run go through a round.
func (c *cohort) round(ctx workflow.Context, n int) error {
	in := c.about(ctx, func(e activities.SagaMemberEnd) bool { return e.State == activities.MemberRuns })
	in.Round = n
	summary := fmt.Sprintf("round %d: %s", n, counted(in.Members))
	lctx := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: roundTimeout,
		RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}, Summary: workflows.Shorten(summary)})
	var out activities.SagaMemberEnds
	if err := workflow.ExecuteLocalActivity(lctx, activities.SagaRound, in).Get(ctx, &out); err != nil {
		return err
	}
	c.take(out)
	return nil
}

// leave has the members that have not ended go on in workflows of their own. Temporal repeats
// it, in whatever process, until all of them do.
func (c *cohort) leave(ctx workflow.Context) error {
	open := func(e activities.SagaMemberEnd) bool { return !e.Settled() }
	if !slices.ContainsFunc(c.ends, open) {
		return nil
	}
	in := c.about(ctx, open)
	actx := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: workflows.TaskQueue(c.in.Prefix, c.in.Group), StartToCloseTimeout: leaveTimeout,
		HeartbeatTimeout: 30 * time.Second,
		RetryPolicy:      &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 30 * time.Second},
		Summary:          workflows.Shorten("leave: " + counted(in.Members))})
	var out activities.SagaMemberEnds
	if err := workflow.ExecuteActivity(actx, activities.SagaLeave, in).Get(ctx, &out); err != nil {
		return err
	}
	c.take(out)
	return nil
}

// about is the input of a step about the members that are meant.
func (c *cohort) about(ctx workflow.Context, meant func(activities.SagaMemberEnd) bool) activities.SagaCohort {
	at := workflow.GetInfo(ctx).WorkflowExecution
	in := activities.SagaCohort{Workflow: at.ID, Run: at.RunID, Group: c.in.Group, Database: c.in.Database}
	for i, e := range c.ends {
		if meant(e) {
			in.Members = append(in.Members, c.in.Members[i])
		}
	}
	return in
}

// take takes note of how members stand. What they did is in the history, with the step's result.
func (c *cohort) take(out activities.SagaMemberEnds) {
	for _, e := range out.Members {
		i := slices.IndexFunc(c.ends, func(o activities.SagaMemberEnd) bool { return o.ID == e.ID })
		if i < 0 {
			continue
		}
		if e.Why == "" {
			e.Why = c.ends[i].Why
		}
		e.Steps, e.More = nil, 0
		if c.lasts += len(e.Last); c.lasts > maxLasts {
			c.lasts -= len(e.Last)
			e.Last = nil
		}
		c.ends[i] = e
	}
}

// maxLasts bounds what the result knows of the members that have completed, in bytes of JSON: of
// one whose state is beyond, the begin row has it.
const maxLasts = 512 << 10

// counted names the sagas of members, the most frequent first, each with its number.
func counted(members []activities.SagaMember) string {
	n := map[string]int{}
	var names []string
	for _, m := range members {
		if n[m.Start.Name]++; n[m.Start.Name] == 1 {
			names = append(names, m.Start.Name)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return n[b] - n[a] })
	for i, name := range names {
		names[i] = fmt.Sprintf("%d of %s", n[name], name)
	}
	if len(members) == 1 {
		return workflows.OneLine(strings.TrimSpace(members[0].Start.Name + " " + workflows.Clip(members[0].Start.Key, 200)))
	}
	return strings.Join(names, ", ")
}
