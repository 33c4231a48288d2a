package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagacohort"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// TestSagasThatShareAWorkflow: each is found by its key, listed and shown without a database, and
// undone, one by one and by a filter; nothing is done again, also where no row is left.
func TestSagasThatShareAWorkflow(t *testing.T) {
	t.Parallel()
	s := stacktest.Shared(t)
	prefix, database := stacktest.Prefix(t), stacktest.Database(t, s)
	sh := &shop{t: t, group: "g", c: stacktest.TemporalClient(t, s), env: []string{"USER=ann", "HOLDFAST_TIMEOUT=2m", "HOLDFAST_PREFIX=" + prefix,
		"TEMPORAL_ADDRESS=" + s.TemporalAddress(), "TEMPORAL_NAMESPACE=" + s.Namespace()}}
	db, err := gorm.Open(postgres.Open(database), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	require.NoError(t, barrier.Migrate(t.Context(), db))
	require.NoError(t, db.Exec("CREATE TABLE effects (n serial, saga text, what text)").Error)
	sh.w, err = worker.New(worker.Options{Group: sh.group, Temporal: sh.c, Namespace: s.Namespace(), AMQPURL: s.AMQPURL(), DB: db, Prefix: prefix,
		Tuning: worker.Tuning{MaxSagaCohort: 48}})
	require.NoError(t, err)
	release := make(chan struct{})
	write := func(what string) func(context.Context, *gorm.DB, *string) error {
		return func(_ context.Context, tx *gorm.DB, x *string) error {
			if *x == "slow" {
				<-release
			}
			return tx.Exec("INSERT INTO effects (saga, what) VALUES (?, ?)", *x, what).Error
		}
	}
	def := saga.Saga[string]{Name: "order", Key: func(x string) string { return x }, Steps: []saga.Step[string]{
		saga.Local("create", write("do create"), write("undo create")), saga.Local("ship", write("do ship"), write("undo ship"))}}
	sh.w.Saga(def)
	lost, held := sh.terminatedCohort(prefix, db, "lost"), sh.terminatedCohort(prefix, db, "held")
	sh.run()
	effects := func(key string) (out []string) {
		require.NoError(t, db.Raw("SELECT what FROM effects WHERE saga = ? ORDER BY n", key).Scan(&out).Error)
		return out
	}
	keys := []string{prefix + "-1", prefix + "-2", prefix + "-3", prefix + "-4"}
	for _, key := range keys {
		h, err := worker.StartSaga(t.Context(), sh.w, def, key)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
	}
	list := func(n int, args ...string) (rows []sagas.Row) {
		sh.eventually(func() bool {
			sh.decode(&rows, append([]string{"saga", "list", "--state", "completed", "--name", "order"}, args...)...)
			return len(rows) == n
		}, func() string { return fmt.Sprint(rows) })
		return rows
	}
	for _, r := range list(4) {
		require.Equal(t, core.StateCompleted, r.State)
		require.Equal(t, r.Cohort, r.WorkflowID)
		require.True(t, strings.HasPrefix(r.WorkflowID, prefix+":sagas/g/"))
		require.True(t, slices.Contains(keys, r.Key))
	}
	require.Equal(t, keys[1], list(1, "--key", keys[1])[0].Key)

	r := sh.holdfast("saga", "skip", lost, "--step", "ship", "--reason", "no more")
	require.NotEqual(t, frame.ExitOK, r.status, r.out)
	r = sh.holdfast("saga", "compensate", lost, "--reason", "no more")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Empty(t, effects("lost"), "what goes back does no step more")

	r = sh.holdfast("saga", "pause", held, "--reason", "stock is being counted")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.Empty(t, effects("held"), "it is paused before it does a step")
	r = sh.holdfast("saga", "skip", held, "--step", "create", "--reason", "by hand")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	r = sh.holdfast("saga", "resume", held, "--reason", "counted")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	sh.eventually(func() bool { return slices.Equal(effects("held"), []string{"do ship"}) }, func() string { return fmt.Sprint(effects("held")) })

	var shown sagas.Detail
	sh.decode(&shown, "saga", "show", keys[0])
	require.Equal(t, []string{core.StateCompleted, workflows.SagaID(prefix, "g", "order", keys[0])}, []string{shown.State, shown.WorkflowID})
	require.Equal(t, core.Done, shown.Status.Core.Steps["ship"].Status)
	require.NoError(t, db.Exec("DELETE FROM holdfast_steps WHERE owner LIKE '%'||?", keys[1]).Error)
	sh.decode(&shown, "saga", "show", workflows.SagaID(prefix, "g", "order", keys[1]))
	require.Equal(t, core.StateCompleted, shown.State)
	require.Equal(t, []string{"do create", "do ship"}, effects(keys[1]), "retention has deleted the rows: no step is done again")

	shared := sh.cohort(prefix, "quick", "slow")
	sh.eventually(func() bool {
		var rows []sagas.Row
		sh.decode(&rows, "saga", "list", "--key", "quick")
		return len(rows) == 1 && rows[0].State == core.StateCompleted
	}, func() string { return "quick has not completed" })
	sh.decode(&shown, "saga", "show", workflows.SagaID(prefix, "g", "order", "quick"))
	require.Equal(t, core.StateCompleted, shown.State, "a slow member does not hide how the others stand")
	var slow []sagas.Row
	sh.decode(&slow, "saga", "list", "--key", "slow")
	require.Equal(t, []string{core.StateRunning, shared}, []string{slow[0].State, slow[0].Cohort})
	close(release)

	var done []actions.Outcome
	sh.decode(&done, "saga", "compensate", keys[2], "--reason", "changed their mind")
	require.Equal(t, actions.Compensated, done[0].Outcome)
	r = sh.holdfast("saga", "compensate", "--state", "completed", "--key", keys[3], "--reason", "all of them", "--yes")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	for _, key := range keys[2:] {
		require.Equal(t, []string{"do create", "do ship", "undo ship", "undo create"}, effects(key))
	}
	list(5)
}

// terminatedCohort is a saga with that key that has begun in a cohort which was terminated.
func (sh *shop) terminatedCohort(prefix string, db *gorm.DB, key string) (id string) {
	t := sh.t
	t.Helper()
	id = workflows.SagaID(prefix, sh.group, "order", key)
	require.NoError(t, sh.c.TerminateWorkflow(t.Context(), sh.cohort(prefix, key), "", "an accident"))
	start := orderOf(key)
	_, err := barrier.BeginSaga(t.Context(), db, id, barrier.BegunSaga{SagaStart: start, Content: sagaflow.ContentOf(start.State),
		Holder: "cohort/" + key + "/00000000"})
	require.NoError(t, err)
	return id
}

func orderOf(key string) holdfast.SagaStart {
	return holdfast.SagaStart{Name: "order", Version: 1, Key: key, State: []byte(`"` + key + `"`), Tokens: true}
}

// cohort starts a cohort of sagas with these keys, named after the first.
func (sh *shop) cohort(prefix string, keys ...string) (workflow string) {
	sh.t.Helper()
	workflow = workflows.SagaCohortID(prefix, sh.group, keys[0])
	in := sagacohort.Input{Group: sh.group, Prefix: prefix}
	for _, key := range keys {
		in.Members = append(in.Members, activities.SagaMember{ID: workflows.SagaID(prefix, sh.group, "order", key), Began: time.Now(),
			Start: orderOf(key)})
	}
	_, err := sh.c.ExecuteWorkflow(sh.t.Context(), sagacohort.StartOptions(workflow, in, 0), sagacohort.Name, in)
	require.NoError(sh.t, err)
	return workflow
}
