package sagas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// GroupOf returns the only group whose processes have a saga.
func GroupOf(ctx context.Context, c *reach.Config, name string, version int) (string, error) {
	all, err := c.Definitions(ctx)
	if err != nil {
		return "", err
	}
	d, err := PickDefinition(all, name, "", version)
	return d.Group, err
}

// PickDefinition returns the definition that is meant: of the only group that has
// it, the highest version, if none is named.
func PickDefinition(all []broker.SagaDefinition, name, group string, version int) (broker.SagaDefinition, error) {
	var groups, versions []string
	var meant []broker.SagaDefinition
	for _, d := range all {
		if d.Name != name || group != "" && d.Group != group {
			continue
		}
		versions = append(versions, fmt.Sprintf("version %d in group %s", d.Version, d.Group))
		if version == 0 || d.Version == version {
			meant, groups = append(meant, d), append(groups, d.Group)
		}
	}
	slices.Sort(groups)
	slices.Sort(versions)
	groups, versions = slices.Compact(groups), slices.Compact(versions)
	switch {
	case len(meant) == 0 && len(versions) > 0:
		return broker.SagaDefinition{}, text.WithRemedy(fmt.Errorf("%w: no running process has version %d of saga %s: "+
			"there is %s", holdfast.ErrNotFound, version, name, text.Join(versions)),
			"give one of these with --version")
	case len(meant) == 0:
		return broker.SagaDefinition{}, text.WithRemedy(fmt.Errorf("%w: no running process has a saga %s",
			holdfast.ErrNotFound, name),
			"check the name, --group and --prefix, or start a process that has it")
	case len(groups) > 1:
		return broker.SagaDefinition{}, text.WithRemedy(fmt.Errorf("saga %s is in %d groups: %s", name, len(groups),
			text.Join(groups)), "say which with --group")
	}
	return slices.MaxFunc(meant, func(x, y broker.SagaDefinition) int {
		return cmp.Or(cmp.Compare(x.Version, y.Version), cmp.Compare(len(x.Plan), len(y.Plan))) // a plan may be missing
	}), nil
}

// plansTried is how many sagas are looked at for a plan.
const plansTried = 20

// LatestPlan returns the plan of the latest saga that f means, in that version if
// it is not 0, and that saga's ID; nil: there is none.
func LatestPlan(ctx context.Context, t *server.Temporal, f Filter, version int) (plan *core.Plan,
	from string, err error) {
	tried := 0
	var failed error
	err = Each(ctx, t, f, plansTried, func(r Row) bool {
		tried++
		var began sagaflow.Input
		if failed = t.InputOf(ctx, r.WorkflowID, r.RunID, &began); failed != nil {
			return false
		}
		if plan, from = planOf(ctx, t, r, began), r.ID; plan != nil && version != 0 && plan.Version != version {
			plan = nil
		}
		return plan == nil && tried < plansTried
	})
	return plan, from, errors.Join(err, failed)
}

// planOf returns a saga's plan: as its input has it, as its history tells that it
// was given it, or as its result says; nil: it is not known.
func planOf(ctx context.Context, t *server.Temporal, r Row, began sagaflow.Input) *core.Plan {
	if began.Plan != nil {
		return began.Plan
	}
	if began.Resumed != nil && len(began.Resumed.Plan.Steps) > 0 {
		return &began.Resumed.Plan
	}
	it := t.GetWorkflowHistory(ctx, r.WorkflowID, r.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	scheduled := map[int64]bool{}
	for n := 0; it.HasNext() && n < server.EventLimit; n++ {
		e, err := it.Next()
		if err != nil {
			return nil
		}
		payloads := e.GetMarkerRecordedEventAttributes().GetDetails()["result"]
		if a := e.GetActivityTaskScheduledEventAttributes(); a.GetActivityType().GetName() == activities.SagaPlan {
			scheduled[e.GetEventId()] = true
		}
		if a := e.GetActivityTaskCompletedEventAttributes(); a != nil && scheduled[a.GetScheduledEventId()] {
			payloads = a.GetResult()
		}
		var plan core.Plan
		if len(payloads.GetPayloads()) > 0 && t.Data.FromPayloads(payloads, &plan) == nil && len(plan.Steps) > 0 {
			return &plan
		}
	}
	return nil
}
