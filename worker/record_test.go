package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// histories is where the histories are that workflows/replay_test.go replays.
const histories = "../workflows/testdata/histories"

// recorder runs transactions whose histories are kept.
type recorder struct {
	*site
	t *testing.T
	w *running
}

// newRecorder is one at a site of the shared servers. Without HOLDFAST_RECORD it
// skips the test.
func newRecorder(t *testing.T, siteOn func(testing.TB, *stack.Stack) *site) *recorder {
	if os.Getenv("HOLDFAST_RECORD") != "1" {
		t.Skip("set HOLDFAST_RECORD=1 to record histories")
	}
	s := siteOn(t, stacktest.Shared(t))
	s.at.Prefix = "holdfast"
	s.temporal = dialTemporal(t, s.at.Temporal, s.at.Namespace, nil) // its identity is "recorder"
	return &recorder{site: s, t: t}
}

// TestRecordHistories records real histories for the replay tests, where
// HOLDFAST_RECORD is 1. They replace those of the same names. Temporal must be
// fresh: the transactions have fixed IDs.
func TestRecordHistories(t *testing.T) {
	r := newRecorder(t, newSiteOn)
	s := r.site
	s.consuming(payments(s.effects))
	o := hurried(s.options())
	o.Instance, o.Timeouts.Task, o.Timeouts.Reach = "recorder-1", 10*time.Second, 10*time.Second
	o.CheckBack = transactions.Schedule{Delays: []time.Duration{100 * time.Millisecond}, MaxChecks: 2}
	r.w = s.runWith(o, func(w *worker.Worker) {
		w.Local("place", insert)
		w.Check("order.lost", holdfast.CheckerFunc(func(context.Context, holdfast.Message) (holdfast.Resolution, error) {
			return holdfast.Unknown, errors.New("the ledger burnt")
		}))
	})
	for name, scenario := range map[string]func(id string){
		"commit":               r.commit,
		"commit-several":       r.commitSeveral,
		"commit-changed-key":   r.commitChangedKey,
		"check-back-changed":   r.checkBackChanged,
		"rollback":             r.rollback,
		"registered":           r.registered,
		"split":                r.split,
		"split-rollback":       r.splitRollback,
		"check-back-commit":    r.checkBackCommit,
		"check-back-rollback":  r.checkBackRollback,
		"parked-commit":        r.parkedCommit,
		"parked-rollback":      r.parkedRollback,
		"unroutable":           r.unroutable,
		"cancelled":            r.cancelled,
		"handed-over":          r.handedOver,
		"handed-over-rollback": r.handedOverRollback,
	} {
		id := name + "-1"
		scenario(id)
		r.save(name, id)
	}
	r.elsewhere()
}

// save writes the history of a transaction that has ended.
func (r *recorder) save(name, id string) {
	r.t.Helper()
	r.ended(id)
	r.write(name, r.history(id))
}

func (r *recorder) write(name string, history *historypb.History) {
	r.t.Helper()
	text, err := protojson.MarshalOptions{Indent: " "}.Marshal(history)
	require.NoError(r.t, err)
	host, err := os.Hostname()
	require.NoError(r.t, err)
	// The SDK names a worker's sticky queue after its host.
	clean := strings.ReplaceAll(string(text), `"`+host+`:`, `"recorder:`)
	folder, err := os.Getwd()
	require.NoError(r.t, err)
	require.NotContains(r.t, clean, filepath.Dir(folder), name)
	require.NotContains(r.t, clean, `"`+host, name)
	require.NoError(r.t, os.MkdirAll(histories, 0o755))
	require.NoError(r.t, os.WriteFile(filepath.Join(histories, name+".json"), []byte(clean+"\n"), 0o644))
}

func (r *recorder) begin(id, topic string, checkAfter time.Duration) *worker.Split {
	r.t.Helper()
	m := order(id)
	m.Topic = topic
	split, err := r.w.Begin(r.ctx(), checkAfter, m)
	require.NoError(r.t, err)
	return split
}

func (r *recorder) commit(id string) {
	_, err := r.w.Send(r.ctx(), order(id), insert)
	require.NoError(r.t, err)
}

func (r *recorder) commitSeveral(id string) {
	_, err := r.w.SendAll(r.ctx(), []holdfast.Message{order(id), order("")}, func(_ context.Context, _ *gorm.DB, ms []*holdfast.Message) error {
		ms[1].Body = []byte("changed")
		return nil
	})
	require.NoError(r.t, err)
}

func (r *recorder) commitChangedKey(id string) {
	_, err := r.w.Send(r.ctx(), order(id), insertAndPass)
	require.NoError(r.t, err)
}

func (r *recorder) checkBackChanged(id string) {
	split := r.begin(id, placed, 3*time.Second)
	require.NoError(r.t, r.orders.Transaction(func(tx *gorm.DB) error {
		_, err := split.Barrier(r.ctx(), tx)
		require.NoError(r.t, err)
		return split.Store(r.ctx(), tx, func(ms []holdfast.Message) error { complete(&ms[0]); return nil })
	}))
}

func (r *recorder) rollback(id string) {
	_, err := r.w.Send(r.ctx(), order(id), func(context.Context, *gorm.DB, *holdfast.Message) error { return errOops })
	require.ErrorIs(r.t, err, errOops)
}

func (r *recorder) registered(id string) {
	_, err := r.w.Start(r.ctx(), "place", order(id))
	require.NoError(r.t, err)
}

func (r *recorder) split(id string) {
	split := r.begin(id, placed, time.Hour)
	require.NoError(r.t, r.commitOrder(split))
	_, err := split.Commit(r.ctx())
	require.NoError(r.t, err)
}

func (r *recorder) splitRollback(id string) {
	_, err := r.begin(id, placed, time.Hour).Rollback(r.ctx())
	require.NoError(r.t, err)
}

func (r *recorder) checkBackCommit(id string) {
	require.NoError(r.t, r.commitOrder(r.begin(id, placed, 3*time.Second)))
}

func (r *recorder) checkBackRollback(id string) { r.begin(id, placed, 100*time.Millisecond) }

func (r *recorder) park(id string) {
	r.begin(id, "order.lost", 100*time.Millisecond)
	until(r.t, "it is parked", func() bool { return r.status(id).State == workflows.Parked })
}

func (r *recorder) parkedCommit(id string) {
	r.park(id)
	_, err := r.ask(id, transactions.UpdateCommit)
	require.NoError(r.t, err)
}

func (r *recorder) parkedRollback(id string) {
	r.park(id)
	require.NoError(r.t, r.temporal.SignalWorkflow(r.ctx(), workflows.WorkflowID(r.at.Prefix, group, id), "", transactions.UpdateRollback,
		transactions.Request{Operator: "ann", Reason: "looked at the books"}))
}

func (r *recorder) unroutable(id string) {
	m := order(id)
	m.Topic = "parcel.sent"
	ctx, cancel := context.WithTimeout(r.ctx(), time.Second)
	defer cancel()
	_, err := r.w.Send(ctx, m, insert)
	require.ErrorIs(r.t, err, holdfast.ErrDeliveryPending)
	for r.status(id).State != workflows.Parked {
		_, _ = r.ask(id, transactions.UpdateRecheck) // refused while a try is under way
	}
	parcels := payments(r.effects)
	parcels.Name, parcels.Topics = "parcels", []string{"parcel.#"}
	r.consuming(parcels)
	_, err = r.ask(id, transactions.UpdateRecheck)
	require.NoError(r.t, err)
}

func (r *recorder) cancelled(id string) {
	r.begin(id, placed, time.Hour)
	require.NoError(r.t, r.temporal.CancelWorkflow(r.ctx(), workflows.WorkflowID(r.at.Prefix, group, id), ""))
}

func (r *recorder) handedOver(id string)         { r.handOver(id, true) }
func (r *recorder) handedOverRollback(id string) { r.handOver(id, false) }

func (r *recorder) handOver(id string, committed bool) {
	r.orphan(laneOf("traced"), id, committed)
	until(r.t, "it is handed over", func() bool {
		_, err := r.temporal.DescribeWorkflowExecution(r.ctx(), workflows.WorkflowID(r.at.Prefix, group, id), "")
		return err == nil
	})
}

// elsewhere records a transaction whose workflow ran in another process, and
// one whose handler was on another one only.
func (r *recorder) elsewhere() {
	o := r.options()
	o.Instance, o.Temporal = "recorder-2", r.dial(&cable{lazy: true})
	other := r.run(o)
	for n, name := range []string{"elsewhere", "registered-elsewhere"} {
		for saved := false; !saved; {
			id := name + "-" + newID()
			var err error
			if n == 0 {
				_, err = other.Send(r.ctx(), order(id), insert)
			} else {
				_, err = other.Start(r.ctx(), "place", order(id))
			}
			require.NoError(r.t, err)
			if saved = slices.Contains(r.scheduled(id), activities.LocalTransactionInProcess); saved {
				r.save(name, id)
			}
		}
	}
}
