package cli

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

func newSagaListCommand(a *app) *cobra.Command {
	var s sagaFlags
	var asJSON, unknown bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List sagas",
		Long: `List sagas: those that are open first, then those that ended last. One that was
undone after its end is listed once. A saga appears here about a second after it
began, and what happened to it about a second later; those that ended are found
for as long as the Temporal namespace keeps them. The step and the reason are
asked of a process of the group, and are missing where none answers.

--unknown-outside lists sagas with a step that was begun, whose row was not
committed, and of which nobody knows what it did outside its database: somebody
has to look there. Among the latest 1000 that were undone, or are being undone.

JSON: an array of id, group, name, key, version, state, step, reason, started,
closed, undone_later (state is that of the undoing), parent (the saga that it is
a part of), unknown_outside (steps), workflow_id, run_id.`,
		Example: "  holdfast saga list --state parked\n  holdfast saga list --name order-payment --newer-than 24h\n" +
			"  holdfast saga list --state compensated --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := s.filter(a)
			if err != nil {
				return err
			}
			if s.limit < 1 {
				return usagef("--limit %d: want 1 or more", s.limit)
			}
			return a.withTemporal(cmd.Context(), func(ctx context.Context, t *temporalServer) error {
				if unknown {
					return listUnknownOutside(ctx, a, t, f, s.limit, asJSON)
				}
				return listSagas(ctx, a, t, f, s.limit, asJSON)
			})
		},
	}
	s.register(c.Flags(), 20, "how many at most", "only those in these states: "+join(sagaStates))
	c.Flags().BoolVar(&unknown, "unknown-outside", false, "only those with a step whose effect outside its database is not known")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

func listSagas(ctx context.Context, a *app, t *temporalServer, f sagaFilter, limit int, asJSON bool) error {
	rows := []sagaRow{}
	more := false
	err := eachSaga(ctx, t, f, min(max(limit+1, 10), deadPage), func(r sagaRow) bool {
		if more = len(rows) == limit; !more {
			rows = append(rows, r)
		}
		return !more
	})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		a.noteGroup(ctx, t, f.group)
		a.noteSaga(ctx, t, f.name)
	}
	if more {
		printf(a.Err, "There are more than %d: raise --limit, or narrow it down.\n", limit)
	}
	tellSagas(ctx, t, rows)
	if asJSON {
		return printJSON(a.Out, rows)
	}
	return printSagaRows(a.Out, rows, a.Now())
}

// tellSagas adds to sagas what only their workflows know. Where no process answers, it
// is missing.
func tellSagas(ctx context.Context, t *temporalServer, rows []sagaRow) {
	var queues []string
	for _, r := range rows {
		queues = append(queues, r.taskQueue)
	}
	nobody, err := t.deserted(ctx, queues)
	if err != nil {
		return
	}
	var all errgroup.Group
	all.SetLimit(resultsAtOnce)
	for i := range rows {
		r := &rows[i]
		all.Go(func() error {
			var status workflows.SagaStatus
			var err error
			switch {
			case r.status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING && !nobody[r.taskQueue]:
				err = t.askStatus(ctx, r.WorkflowID, r.RunID, &status)
			case r.status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED && r.State != core.StateCompleted:
				err = t.readResult(ctx, r.WorkflowID, r.RunID, &status)
			default:
				return nil
			}
			if err == nil && status.State != "" {
				r.State, r.Step, r.Reason, r.Version = status.State, status.Step, status.Reason, status.Version
				r.UnknownOutside = unknownOutside(status)
			}
			return nil
		})
	}
	_ = all.Wait()
}

// printSagaRows writes sagas as a table.
func printSagaRows(w io.Writer, rows []sagaRow, now time.Time) error {
	if len(rows) == 0 {
		printf(w, "No sagas.\n")
		return nil
	}
	t := newTable(w, "SAGA", "STATE", "STEP", "STARTED", "AGE", "REASON")
	for _, r := range rows {
		t.row(r.ID, r.stateText(), orDash(r.Step), r.Started.In(now.Location()).Format(dateTime), age(now.Sub(r.Started)), orDash(cutText(r.Reason, 80)))
	}
	return t.flush()
}

// stateText is the state, and that it came after the end.
func (r sagaRow) stateText() string {
	said := r.State
	if r.UndoneLater {
		said += " (undone later)"
	}
	if len(r.UnknownOutside) > 0 {
		said += " (unknown outside: " + join(r.UnknownOutside) + ")"
	}
	return said
}
