package cli

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/waits"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// outing is the state of the sagas here.
type outing struct{ ID string }

// calling is a saga of one step, which calls a participant.
func calling(name, topic string) saga.Saga[outing] {
	return saga.Saga[outing]{Name: name, Key: func(e outing) string { return e.ID },
		Steps: []saga.Step[outing]{saga.Message("call", topic, "").NoUndo()}}
}

// town is a group with sagas whose participants are its neighbours.
type town struct {
	*shop
	db *gorm.DB
	at string // its prefix
}

func newTown(t *testing.T) *town {
	s := stacktest.Shared(t)
	prefix, database := stacktest.Prefix(t), stacktest.Database(t, s)
	sh := &shop{t: t, group: "town", c: stacktest.TemporalClient(t, s), env: []string{"USER=ann", "HOLDFAST_TIMEOUT=2m", "HOLDFAST_PREFIX=" + prefix,
		"AMQP_URL=" + s.AMQPURL(), "TEMPORAL_ADDRESS=" + s.TemporalAddress(), "TEMPORAL_NAMESPACE=" + s.Namespace()}}
	db, err := gorm.Open(postgres.Open(database), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() {
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close())
	})
	require.NoError(t, barrier.Migrate(t.Context(), db))
	return &town{shop: sh, db: db, at: prefix}
}

func (g *town) prefix() string { return g.at }

func (g *town) queue(name string) string { return g.prefix() + ".q." + name }

// neighbour runs a process until stop, or the end of the test.
func (g *town) neighbour(o worker.Options, register func(*worker.Worker)) *shop {
	g.t.Helper()
	s := stacktest.Shared(g.t)
	o.AMQPURL, o.DB, o.Prefix = s.AMQPURL(), g.db, g.prefix()
	if o.Group != "" {
		o.Temporal, o.Namespace = g.c, s.Namespace()
	}
	w, err := worker.New(o)
	require.NoError(g.t, err)
	register(w)
	n := *g.shop
	n.w = w
	n.run()
	return &n
}

// find waits until the doctor says what ready waits for.
func (g *town) find(ready func(map[string]doctor.Finding) bool, args ...string) (by map[string]doctor.Finding) {
	g.t.Helper()
	var d doctor.Diagnosis
	g.eventually(func() bool {
		d, by = g.diagnose(g.env, append([]string{"--skip", "postgresql"}, args...)...)
		return ready(by)
	}, func() string { return fmt.Sprint(d) })
	return by
}

func TestDoctorFindsWhatNobodyRuns(t *testing.T) {
	t.Parallel()
	g := newTown(t)
	nothing := func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return nil, nil }
	handle := func(context.Context, *gorm.DB, holdfast.Message) error { return nil }
	mail := g.neighbour(worker.Options{}, func(w *worker.Worker) {
		w.Participate(worker.Participant{Topic: "mail.send", Do: nothing})
		w.Consume(worker.Consumer{Name: "audit", Topics: []string{"order.#"}, Handle: handle})
	})
	town := g.neighbour(worker.Options{Group: g.group}, func(w *worker.Worker) {
		for name, topic := range map[string]string{"stocked": "stock.reserve", "mailed": "mail.send", "unused": "gold.dig"} {
			w.Saga(calling(name, topic))
		}
	})
	g.find(func(by map[string]doctor.Finding) bool { // nothing waits yet
		return by["Waiting participant gold.dig"].Level == text.LevelWarning && by["Waiting participant mail.send"].Level == ""
	})
	g.eventually(func() bool { // it has said so
		answers, err := (&frame.App{Config: reach.Config{AMQPURL: stacktest.Shared(t).AMQPURL(), Prefix: g.prefix()}}).AskOnce(t.Context(), nil)()
		require.NoError(t, err)
		return slices.ContainsFunc(answers, func(p broker.ProcessStatus) bool { return len(p.Remembers) == 2 })
	}, func() string { return "nobody has heard of the audit" })
	mail.stop()

	for _, id := range []string{"1", "2"} {
		_, err := worker.StartSaga(t.Context(), town.w, calling("stocked", "stock.reserve"), outing{id})
		require.NoError(t, err)
	}
	_, err := worker.StartSaga(t.Context(), town.w, calling("mailed", "mail.send"), outing{"3"})
	require.NoError(t, err)
	_, err = town.w.Send(t.Context(), holdfast.Message{Topic: "order.placed"}, func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
	require.NoError(t, err)

	_, err = town.w.Send(t.Context(), holdfast.Message{Topic: "nobody.hears"}, func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
	require.ErrorIs(t, err, holdfast.ErrDeliveryPending)

	by := g.find(func(by map[string]doctor.Finding) bool {
		return by["Waiting a consumer bound to nobody.hears"].Level == text.LevelProblem && strings.HasPrefix(by["Waiting participant stock.reserve"].Detail, "2 sagas waiting, the oldest for ") &&
			by["Waiting participant mail.send"].Level == text.LevelProblem && strings.Contains(by["Waiting participant mail.send"].Detail, "1 saga waiting") &&
			by["RabbitMQ consumer audit"].Level == text.LevelProblem
	})
	stock, sent, audit := by["Waiting participant stock.reserve"], by["Waiting participant mail.send"], by["RabbitMQ consumer audit"]
	require.Equal(t, text.LevelProblem, stock.Level)
	require.Contains(t, stock.Detail, "saga stocked, step call; no process takes stock.reserve, and it has no queue")
	require.Contains(t, stock.Remedy, "start a process with a Participant whose Topic")
	require.Contains(t, sent.Detail, "1 saga waiting")
	require.Contains(t, sent.Detail, "its queue "+g.queue("mail.send")+" keeps ") // one, and one more each time that the saga asks again
	require.Contains(t, sent.Remedy, "start a process of participant mail.send")
	require.Contains(t, audit.Detail, "nobody reads "+g.queue("audit"))
	require.Contains(t, by["Waiting a consumer bound to nobody.hears"].Remedy, "they go on by themselves then")
	require.NotContains(t, by, "Waiting a process of group town")

	type waiting struct {
		Waiting []*waits.Wait
		Unknown []string
	}
	var list waiting
	var listed map[string]*waits.Wait
	g.eventually(func() bool {
		list, listed = waiting{}, map[string]*waits.Wait{}
		g.decode(&list, "waiting")
		for _, w := range list.Waiting {
			listed[w.For] = w
		}
		there := func(what string, n int) bool { return listed[what] != nil && listed[what].Count == n }
		return len(list.Unknown) == 0 && there("participant stock.reserve", 2) && !listed["participant stock.reserve"].Next.IsZero() &&
			there("a consumer bound to nobody.hears", 1) && there("a process of consumer audit", 1)
	}, func() string { return fmt.Sprint(list.Unknown, listed) })
	require.Equal(t, 2, listed["participant stock.reserve"].Count)
	require.True(t, listed["participant stock.reserve"].Missing)
	require.NotZero(t, listed["participant stock.reserve"].Next)
	require.Equal(t, 1, listed["a consumer bound to nobody.hears"].Count)
	require.Equal(t, 1, listed["a process of consumer audit"].Count)
	g.eventually(func() bool {
		list = waiting{}
		g.decode(&list, "waiting", "--kind", waits.WaitConsumer)
		return len(list.Waiting) > 0
	}, func() string { return "no consumer is waited for" })
	require.False(t, slices.ContainsFunc(list.Waiting, func(w *waits.Wait) bool { return w.Kind != waits.WaitConsumer }))
	g.answered(prints("participant stock.reserve (missing)"), "waiting")

	// It is harmless while it is not there.
	require.Equal(t, frame.ExitUsage, g.holdfast("retry-now").status, "it is signed")
	both := regexp.MustCompile(`(?m)^2 +participant stock.reserve$`)
	listsBoth := func(r result) bool { return both.MatchString(r.out) }
	r := g.answered(listsBoth, "retry-now", "--for", "stock.reserve", "--dry-run")
	require.Contains(t, r.out, "Nothing was done.")
	g.answered(listsBoth, "retry-now", "--for", "stock.reserve", "--reason", "it may run")

	// It is there: nobody waits until the sagas ask again by themselves.
	g.neighbour(worker.Options{}, func(w *worker.Worker) {
		w.Participate(worker.Participant{Topic: "stock.reserve", Do: nothing})
	})
	r = g.holdfast("retry-now", "--for", "stock.reserve", "--reason", "it runs") // how many still wait depends on the machine
	require.Equal(t, frame.ExitOK, r.status, r.err)
	g.eventually(func() bool {
		return strings.Count(g.holdfast("saga", "list", "--name", "stocked", "--state", "completed").out, "stocked") == 2
	}, func() string { return g.holdfast("saga", "list").out })

	// Its only process goes: what waits for it is found, although Temporal lists it for
	// minutes yet.
	town.stop()
	by = g.find(func(by map[string]doctor.Finding) bool {
		return by["Waiting a process of group town"].Level == text.LevelProblem
	}, "--group", g.group)
	require.Contains(t, by["Waiting a process of group town"].Detail, "2 workflows waiting, the oldest for ")
	require.Contains(t, by["Waiting a process of group town"].Detail, "and none answers; such as ")
	require.NotEqual(t, text.LevelOK, by["Temporal group town"].Level, "%v", by)
	require.Equal(t, text.LevelProblem, by["RabbitMQ group town"].Level)
	g.eventually(func() bool { // whoever runs it by a clock, and names nothing, goes by the status
		r = g.holdfast("doctor", "--skip", "postgresql")
		return r.status == frame.ExitError && strings.Contains(r.out, "a process of group town")
	}, func() string { return r.out + r.err })
}

// A half queue that nobody reads is found although nobody names its group.
func TestDoctorFindsAHalfQueueThatNobodyReads(t *testing.T) {
	t.Parallel()
	g := newTown(t)
	g.env = append(g.env, "DATABASE_URL="+g.db.Dialector.(*postgres.Dialector).Config.DSN)
	prefix := g.prefix()
	town := g.neighbour(worker.Options{Group: g.group}, func(w *worker.Worker) {
		w.Consume(worker.Consumer{Name: "audit", Topics: []string{"order.#"}, Handle: func(context.Context, *gorm.DB, holdfast.Message) error { return nil }})
	})
	_, err := town.w.Send(t.Context(), holdfast.Message{Topic: "order.placed"}, func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
	require.NoError(t, err)
	town.stop()
	conn, err := amqp.Dial(stacktest.Shared(t).AMQPURL())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, ch.Publish("", prefix+".half."+g.group, false, false, amqp.Publishing{}))
	by := g.find(func(by map[string]doctor.Finding) bool {
		return by["Waiting a Keeper of "+prefix+".half."+g.group].Level == text.LevelProblem
	}, "--skip", "temporal")
	require.Contains(t, by["Waiting a Keeper of "+prefix+".half."+g.group].Remedy, "start a process of group town")
}
