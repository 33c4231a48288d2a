package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfastmq/holdfast/workflows"
)

// action is what an operator can ask of a transaction.
type action struct {
	update, short, long string
	force               bool // --force makes sense
}

var actions = []action{
	{workflows.UpdateCommit, "Decide that a transaction's local transaction committed",
		"Decide that a transaction's local transaction committed, and deliver its\nmessages. The database is asked first: it is refused if that says otherwise.", true},
	{workflows.UpdateRollback, "Decide that a transaction's local transaction rolled back",
		"Decide that a transaction's local transaction rolled back: its messages are\nforgotten, and it can never commit later. The database is asked first: it is\nrefused if that says otherwise.", true},
	{workflows.UpdateRecheck, "Check back, or try to deliver, now instead of later",
		"Check back, or try to deliver, now instead of later. A transaction whose\nworkflow was terminated, or failed, is taken up again in a new one; with the ID\nof a workflow that was shared, all that it left undecided are, and their ends\nare not waited for.", false},
}

func newTxActionCommand(a *app, act action) *cobra.Command {
	var req workflows.Request
	var group string
	var asJSON bool
	c := &cobra.Command{
		Use:   act.update + " ID --reason TEXT",
		Short: act.short,
		Long: act.long + `

Operator and reason are recorded in the workflow's history. A process of the
transaction's group has to run. ID is a transaction's ID, a workflow's ID
(tx/GROUP/ID) or a business key; see holdfast tx --help. One that shares its
workflow ends there in a moment, or leaves into one of its own and is settled
there.

JSON: id, state, resolution, reason, decided, checks, unreached, topics, keys.`,
		Example: "  holdfast tx " + act.update + " A-1007 --reason \"the bank says so\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if req.Operator == "" {
				req.Operator = a.User
			}
			switch {
			case req.Reason == "":
				return usagef("say why, with --reason")
			case req.Operator == "":
				return usagef("say who asks, with --operator: USER is not set")
			}
			return a.withTemporal(cmd.Context(), func(ctx context.Context, t *temporalServer) error {
				found, err := t.find(ctx, args[0], group)
				if err != nil {
					return err
				}
				req.Tx = found.tx
				status, err := t.act(ctx, found, act, req, a.Prefix)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.Out, status)
				}
				printf(a.Out, "%s\n", statusSentence(status))
				return nil
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&req.Reason, "reason", "", "why; recorded (required)")
	flags.StringVar(&req.Operator, "operator", "", "who asks; recorded (default $USER)")
	flags.StringVar(&group, "group", "", "the producer group, where ID is a transaction's")
	flags.BoolVar(&asJSON, "json", false, "write JSON")
	if act.force {
		flags.BoolVar(&req.Force, "force", false, "decide although the database cannot be asked; if it says otherwise later, messages and data disagree")
	}
	return c
}

// statusSentence says where a transaction stands.
func statusSentence(m workflows.MemberStatus) string {
	if shared(m.ID) {
		return oneLine(m.ID + ": " + m.Reason + ".")
	}
	s := fmt.Sprintf("Transaction %s is %s.", m.ID, m.State)
	if m.Reason != "" {
		s += " " + m.Reason
	}
	return oneLine(s)
}

// act does what was asked for. What an Update cannot reach any more, because the
// workflow was closed undecided, a recheck takes up again; what left a shared
// workflow meanwhile is asked where it goes on.
func (t *temporalServer) act(ctx context.Context, of target, act action, req workflows.Request, prefix string) (workflows.MemberStatus, error) {
	if act.update == workflows.UpdateRecheck {
		if status, lost, err := t.takeUp(ctx, of, req); lost || err != nil {
			return status, err
		}
	}
	status, err := t.ask(ctx, of, act.update, req, prefix)
	if err != nil && shared(of.workflowID) && of.tx != "" {
		if own, _ := t.one(ctx, of.name(), []string{of.name()}); own.workflowID != "" { // it left meanwhile
			return t.ask(ctx, own, act.update, req, prefix)
		}
	}
	return status, err
}

// ask sends an Update and waits for its answer.
func (t *temporalServer) ask(ctx context.Context, of target, update string, req workflows.Request, prefix string) (workflows.MemberStatus, error) {
	var status workflows.MemberStatus
	handle, err := t.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: of.workflowID, RunID: of.runID,
		UpdateName: update, Args: []any{req}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err == nil {
		err = handle.Get(ctx, &status)
	}
	if err == nil {
		return status, nil
	}
	return status, t.explain(ctx, of, update, prefix, err)
}

// explain says why an Update did not do what was asked for.
func (t *temporalServer) explain(ctx context.Context, of target, update, prefix string, err error) error {
	var refused *temporal.ApplicationError
	var ended *serviceerror.NotFound
	switch {
	case errors.As(err, &refused):
		return withRemedy(fmt.Errorf("%s is refused: %s", update, refused.Message()), "`holdfast tx show %s` says more", of.workflowID)
	case errors.As(err, &ended):
		return withRemedy(fmt.Errorf("%s is settled already: its workflow has ended", of.workflowID), "`holdfast tx show %s` says how", of.workflowID)
	case timedOut(err):
		return t.explainSilence(ctx, of, update, prefix)
	}
	return fmt.Errorf("%s %s: %w", update, of.workflowID, err)
}

// timedOut reports whether err is the end of the command's time, as the SDK's
// many layers put it.
func timedOut(err error) bool {
	var update *client.WorkflowUpdateServiceTimeoutOrCanceledError
	var call *serviceerror.DeadlineExceeded
	return errors.As(err, &update) || errors.As(err, &call) || errors.Is(err, context.DeadlineExceeded)
}

// explainSilence says why there was no answer in time.
func (t *temporalServer) explainSilence(ctx context.Context, of target, update, prefix string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	defer cancel()
	group, _ := splitWorkflowID(of.workflowID)
	remedy := "start a process of the group and ask again; asking twice is safe"
	if update == "start" {
		remedy = "it runs as soon as a process of the group is started; `holdfast tx show " + of.workflowID + "` says how it ended"
	}
	pollers, err := t.pollers(ctx, workflows.TaskQueue(prefix, group), enumspb.TASK_QUEUE_TYPE_WORKFLOW)
	if err == nil && pollers == 0 {
		return withRemedy(fmt.Errorf("%s %s: no worker of group %s answers", update, of.workflowID, group),
			"%s", remedy)
	}
	return withRemedy(fmt.Errorf("%s %s: no answer in time", update, of.workflowID),
		"it may still take effect: `holdfast tx show %s` says whether it did; raise --timeout to wait longer", of.workflowID)
}

// pollers counts the processes that took work from a task queue in the last
// minutes.
func (t *temporalServer) pollers(ctx context.Context, queue string, kind enumspb.TaskQueueType) (int, error) {
	d, err := t.DescribeTaskQueue(ctx, queue, kind)
	if err != nil {
		return 0, fmt.Errorf("task queue %s: %w", queue, err)
	}
	return len(d.GetPollers()), nil
}
