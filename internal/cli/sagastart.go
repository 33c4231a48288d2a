package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/shell"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// sagaStart is what `holdfast saga start` is told.
type sagaStart struct {
	name, group, key, data string
	version                int
	wait                   time.Duration
}

// sagaStarted is what it writes with --json.
type sagaStarted struct {
	ID         string `json:"id"`
	Group      string `json:"group"`
	Name       string `json:"name"`
	Key        string `json:"key"`
	State      string `json:"state"`
	Step       string `json:"step,omitempty"`
	Reason     string `json:"reason,omitempty"`
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
}

func newSagaStartCommand(a *app) *cobra.Command {
	var s sagaStart
	var asJSON bool
	c := &cobra.Command{
		Use:   "start NAME --data JSON",
		Short: "Start a saga",
		Long: `Start a saga with its first state. The process that runs its first step has its
definition: the highest version that it knows, or the one that --version names.

Without --group, the running processes are asked, through RabbitMQ, which group
has a saga of that name. With --wait the exit status is 1 unless the saga has
completed in that time. Repeating the command with the same --key is safe: there
is one saga of each key.

JSON: id, group, name, key, state, step, reason, workflow_id, run_id.`,
		Example: "  holdfast saga start order-payment --key A-1007 --data '{\"number\": \"A-1007\", \"total\": 12}'\n" +
			"  holdfast saga start order-payment --group orders --data @order.json --wait 30s",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.name = args[0]
			data, err := completeStart(a, &s)
			if err != nil {
				return err
			}
			return a.withTemporalFor(cmd.Context(), defaultTimeout+s.wait, func(ctx context.Context, t *temporalServer) error {
				if s.group == "" {
					if s.group, err = groupOf(ctx, &a.config, s.name, s.version); err != nil {
						return err
					}
				}
				in := workflows.SagaInput{ID: workflows.SagaID(t.ids, s.group, s.name, s.key), Group: s.group, Prefix: a.Prefix, Name: s.name,
					Key: s.key, Version: s.version, Data: data, Tokens: !t.rolling}
				got, err := startSaga(ctx, t, in, s.wait, a.Prefix)
				if err != nil {
					return err
				}
				if asJSON {
					err = printJSON(a.Out, got)
				} else {
					printf(a.Out, "%s\n", got.sentence())
				}
				if err == nil && s.wait > 0 && got.State != core.StateCompleted {
					return statusError(exitError)
				}
				return err
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&s.data, "data", "", "its first state, in JSON; @FILE reads it from a file, - from the standard input (required)")
	flags.StringVar(&s.key, "key", "", "the business key (default: a new UUIDv7)")
	flags.StringVar(&s.group, "group", "", "the producer group (default $HOLDFAST_GROUP, or the one whose processes have it)")
	flags.IntVar(&s.version, "version", 0, "the definition's version (default: the highest)")
	flags.DurationVar(&s.wait, "wait", 0, "how long to wait until it has ended, or waits for somebody")
	flags.BoolVar(&asJSON, "json", false, "write JSON")
	_ = c.MarkFlagRequired("data") // it exists
	return c
}

// completeStart checks what the flags say, fills in what they do not, and reads
// the data.
func completeStart(a *app, s *sagaStart) ([]byte, error) {
	if s.group == "" {
		s.group = a.Group
	}
	if err := holdfast.ValidateName("saga's name", s.name); err != nil {
		return nil, usageError{err}
	}
	if s.group != "" {
		if err := holdfast.ValidateName("group", s.group); err != nil {
			return nil, usageError{err}
		}
	}
	switch {
	case s.version < 0:
		return nil, usagef("--version %d: want 1 or more", s.version)
	case s.wait < 0:
		return nil, usagef("--wait %v: want 0 or more", s.wait)
	}
	if s.key != "" {
		if err := holdfast.ValidateSagaKey(s.key); err != nil {
			return nil, usageError{err}
		}
	} else {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		s.key = id.String()
	}
	return readJSON(a, "--data", s.data, core.MaxData)
}

// startSaga starts the workflow, as the group's own processes do.
func startSaga(ctx context.Context, t *temporalServer, in workflows.SagaInput, wait time.Duration, prefix string) (sagaStarted, error) {
	got := sagaStarted{ID: in.ID, Group: in.Group, Name: in.Name, Key: in.Key, State: core.StateRunning, WorkflowID: in.ID}
	id, run, err := workflows.StartSaga(ctx, t, workflows.SagaStart{Prefix: prefix}, in)
	in.ID, got.ID, got.WorkflowID = id, id, id
	var there *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case errors.Is(err, holdfast.ErrDuplicate):
		return got, withRemedy(err, "%s says how it stands; use another --key for new work", t.code("saga show", in.ID))
	case errors.As(err, &there):
		return got, withRemedy(fmt.Errorf("%w: saga %s is there already", holdfast.ErrDuplicate, in.ID),
			"%s says how it stands; use another --key for new work", t.code("saga show", in.ID))
	case err != nil:
		return got, withRemedy(fmt.Errorf("start saga %s: %w", in.ID, err),
			"%s says what is missing; starting again with --key %s is safe", t.code("doctor", "", "--group", in.Group), shell.Word(in.Key))
	}
	got.RunID = run.GetRunID()
	if wait == 0 {
		return got, nil
	}
	return got, awaitSaga(ctx, t, &got, wait, workflows.TaskQueue(prefix, in.Group))
}

// awaitSaga waits until a saga has ended, or waits for somebody, or the time is
// over.
func awaitSaga(ctx context.Context, t *temporalServer, got *sagaStarted, wait time.Duration, queue string) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		var status workflows.SagaStatus
		if t.stands(ctx, got.WorkflowID, &status) == nil {
			got.State, got.Step, got.Reason = status.State, status.Step, status.Reason
			switch status.State {
			case core.StateRunning, core.StateCompensating, core.StateNoWorker:
			default:
				return nil
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return whyNoEnd(context.WithoutCancel(ctx), t, got, queue)
		}
	}
}

// whyNoEnd says why a saga has not ended in time, if nobody runs it.
func whyNoEnd(ctx context.Context, t *temporalServer, got *sagaStarted, queue string) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if n, err := t.pollers(ctx, queue, enumspb.TASK_QUEUE_TYPE_WORKFLOW); err == nil && n == 0 {
		return withRemedy(fmt.Errorf("saga %s is started, but no worker of group %s runs", got.ID, got.Group),
			"it goes on as soon as a process of the group is started; %s says how it ended", t.code("saga show", got.ID))
	}
	return nil
}

func (s sagaStarted) sentence() string {
	line := fmt.Sprintf("Saga %s is %s", s.ID, s.State)
	if why := stepReason(s.Step, s.Reason); why != "" {
		line += ", " + why
	}
	return oneLine(line)
}

// stepReason names a step and says what is to be said of it, once.
func stepReason(step, reason string) string {
	switch {
	case step == "" || strings.HasPrefix(reason, "step "+step+" "):
		return reason
	case reason == "":
		return "step " + step
	}
	return "step " + step + ": " + reason
}
