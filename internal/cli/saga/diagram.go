package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
)

func newSagaDiagramCommand(a *frame.App) *cobra.Command {
	var group string
	var version int
	c := &cobra.Command{
		Use:   "diagram NAME",
		Short: "Draw a saga's definition as a Mermaid flowchart",
		Long: `Draw a saga's definition as a Mermaid flowchart, which GitHub and many editors
show. The running processes are asked for it, through RabbitMQ; where none has
it, it is taken from the latest saga of that name in Temporal.`,
		Example: "  holdfast saga diagram order-payment\n  holdfast saga diagram order-payment --version 2 > " +
			"order-payment.mmd",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if version < 0 {
				return text.Usagef("--version %d: want 1 or more", version)
			}
			if group == "" {
				group = a.Group
			}
			ctx, cancel := a.Bounded(cmd.Context(), reach.DefaultTimeout)
			defer cancel()
			plan, err := planFor(ctx, a, args[0], group, version)
			if err != nil {
				return err
			}
			text.Printf(a.Out, "%s\n", strings.TrimSpace(core.Mermaid(plan)))
			return nil
		},
	}
	c.Flags().StringVar(&group, "group", "", "the producer group (default $HOLDFAST_GROUP, or the one whose processes "+
		"have it)")
	c.Flags().IntVar(&version, "version", 0, "the definition's version (default: the highest)")
	return c
}

// planFor finds a definition: among the running processes or, if none has it, in
// Temporal.
func planFor(ctx context.Context, a *frame.App, name, group string, version int) (core.Plan, error) {
	var plan core.Plan
	all, asked := a.Definitions(ctx)
	d, err := sagas.PickDefinition(all, name, group, version)
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
	t, dial := a.Temporal(ctx)
	if dial != nil {
		return plan, errors.Join(err, dial)
	}
	defer t.Close()
	found, from, look := sagas.LatestPlan(ctx, t, sagas.Filter{Prefix: a.Prefix, Group: group, Name: name}, version)
	switch {
	case look != nil:
		return plan, look
	case found == nil && err != nil:
		return plan, err
	case found == nil:
		return plan, text.WithRemedy(fmt.Errorf("%w: the plan of saga %s version %d is too large for an answer, and no "+
			"saga in Temporal has it", holdfast.ErrNotFound, name, version),
			"start one, or print saga.Saga's Mermaid in a program")
	}
	text.Printf(a.Err, "No running process has told it: version %d is from saga %s.\n", found.Version, text.OneLine(from))
	return *found, nil
}
