package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

func newSagaDiagramCommand(a *app) *cobra.Command {
	var group string
	var version int
	c := &cobra.Command{
		Use:   "diagram NAME",
		Short: "Draw a saga's definition as a Mermaid flowchart",
		Long: `Draw a saga's definition as a Mermaid flowchart, which GitHub and many editors
show. The running processes are asked for it, through RabbitMQ; where none has
it, it is taken from the latest saga of that name in Temporal.`,
		Example: "  holdfast saga diagram order-payment\n  holdfast saga diagram order-payment --version 2 > order-payment.mmd",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if version < 0 {
				return usagef("--version %d: want 1 or more", version)
			}
			if group == "" {
				group = a.Group
			}
			ctx, cancel := a.bounded(cmd.Context(), defaultTimeout)
			defer cancel()
			plan, err := planFor(ctx, a, args[0], group, version)
			if err != nil {
				return err
			}
			printf(a.Out, "%s\n", strings.TrimSpace(core.Mermaid(plan)))
			return nil
		},
	}
	c.Flags().StringVar(&group, "group", "", "the producer group (default $HOLDFAST_GROUP, or the one whose processes have it)")
	c.Flags().IntVar(&version, "version", 0, "the definition's version (default: the highest)")
	return c
}

// definitionsOf are the sagas of the processes that answered.
func definitionsOf(answers []broker.ProcessStatus) (all []broker.SagaDefinition) {
	for _, p := range answers {
		all = append(all, p.Sagas...)
	}
	return all
}

// groupOf returns the only group whose processes have a saga.
func groupOf(ctx context.Context, c *config, name string, version int) (string, error) {
	all, err := c.definitions(ctx)
	if err != nil {
		return "", err
	}
	d, err := pickDefinition(all, name, "", version)
	return d.Group, err
}

// pickDefinition returns the definition that is meant: of the only group that has
// it, the highest version, if none is named.
func pickDefinition(all []broker.SagaDefinition, name, group string, version int) (broker.SagaDefinition, error) {
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
		return broker.SagaDefinition{}, withRemedy(fmt.Errorf("%w: no running process has version %d of saga %s: there is %s", holdfast.ErrNotFound, version, name, join(versions)),
			"give one of these with --version")
	case len(meant) == 0:
		return broker.SagaDefinition{}, withRemedy(fmt.Errorf("%w: no running process has a saga %s", holdfast.ErrNotFound, name),
			"check the name, --group and --prefix, or start a process that has it")
	case len(groups) > 1:
		return broker.SagaDefinition{}, withRemedy(fmt.Errorf("saga %s is in %d groups: %s", name, len(groups), join(groups)), "say which with --group")
	}
	return slices.MaxFunc(meant, func(x, y broker.SagaDefinition) int {
		return cmp.Or(cmp.Compare(x.Version, y.Version), cmp.Compare(len(x.Plan), len(y.Plan))) // a plan may be missing
	}), nil
}

// planFor finds a definition: among the running processes or, if none has it, in
// Temporal.
func planFor(ctx context.Context, a *app, name, group string, version int) (core.Plan, error) {
	var plan core.Plan
	all, asked := a.definitions(ctx)
	d, err := pickDefinition(all, name, group, version)
	switch {
	case err != nil && !errors.Is(err, holdfast.ErrNotFound):
		return plan, err
	case err == nil && len(d.Plan) > 0:
		if err := json.Unmarshal(d.Plan, &plan); err != nil {
			return plan, fmt.Errorf("the plan of saga %s: %w", name, err)
		}
		return plan, nil
	case err == nil: // too large for an answer
		group, version = d.Group, d.Version
	case asked != nil:
		err = asked
	}
	t, dial := a.temporal(ctx)
	if dial != nil {
		return plan, errors.Join(err, dial)
	}
	defer t.Close()
	found, from, look := latestPlan(ctx, t, sagaFilter{prefix: a.Prefix, group: group, name: name}, version)
	switch {
	case look != nil:
		return plan, look
	case found == nil && err != nil:
		return plan, err
	case found == nil:
		return plan, withRemedy(fmt.Errorf("%w: the plan of saga %s version %d is too large for an answer, and no saga in Temporal has it", holdfast.ErrNotFound, name, version),
			"start one, or print saga.Saga's Mermaid in a program")
	}
	printf(a.Err, "No running process has told it: version %d is from saga %s.\n", found.Version, oneLine(from))
	return *found, nil
}

// plansTried is how many sagas are looked at for a plan.
const plansTried = 20

// latestPlan returns the plan of the latest saga that f means, in that version if
// it is not 0, and that saga's ID; nil: there is none.
func latestPlan(ctx context.Context, t *temporalServer, f sagaFilter, version int) (plan *core.Plan, from string, err error) {
	tried := 0
	var failed error
	err = eachSaga(ctx, t, f, plansTried, func(r sagaRow) bool {
		tried++
		var began workflows.SagaInput
		if failed = t.inputOf(ctx, r.WorkflowID, r.RunID, &began); failed != nil {
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
func planOf(ctx context.Context, t *temporalServer, r sagaRow, began workflows.SagaInput) *core.Plan {
	if began.Plan != nil {
		return began.Plan
	}
	if began.Resumed != nil && len(began.Resumed.Plan.Steps) > 0 {
		return &began.Resumed.Plan
	}
	it := t.GetWorkflowHistory(ctx, r.WorkflowID, r.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	scheduled := map[int64]bool{}
	for n := 0; it.HasNext() && n < eventLimit; n++ {
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
		if len(payloads.GetPayloads()) > 0 && t.data.FromPayloads(payloads, &plan) == nil && len(plan.Steps) > 0 {
			return &plan
		}
	}
	return nil
}
