package worker_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
)

func TestInvalidSagas(t *testing.T) {
	t.Parallel()
	c := stacktest.TemporalClient(t, stacktest.Shared(t))
	full := worker.Options{Group: group, Temporal: c, AMQPURL: "amqp://127.0.0.1:1", DB: new(gorm.DB)}
	bare := worker.Options{AMQPURL: "amqp://127.0.0.1:1"}
	nothing := func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return nil, nil }
	takes := func(change func(*worker.Participant)) func(*worker.Worker) {
		p := worker.Participant{Topic: "a.do", UndoTopic: "a.undo", Do: nothing, DB: new(gorm.DB)}
		change(&p)
		return func(w *worker.Worker) { w.Participate(p) }
	}
	noDB := full
	noDB.DB = nil
	trusting := full
	trusting.TrustBeginRows = true
	versions := func(first, second saga.Step[journey]) func(*worker.Worker) {
		return func(w *worker.Worker) {
			one, two := travel(first), travel(second)
			one.Version, two.Version = 1, 2
			w.Saga(one)
			w.Saga(two)
		}
	}
	for name, x := range map[string]struct {
		o        worker.Options
		register func(*worker.Worker)
		want     string
	}{
		"no definition":    {full, func(w *worker.Worker) { w.Saga(nil) }, "needs a definition"},
		"a wrong one":      {full, func(w *worker.Worker) { w.Saga(travel()) }, "no steps"},
		"without Temporal": {bare, func(w *worker.Worker) { w.Saga(travel(seat())) }, "saga travel needs Options.Temporal"},
		"without database": {noDB, func(w *worker.Worker) { w.Saga(travel(seat(), local("a"))) }, "saga travel, step a: a local step needs Options.DB"},
		"two plans": {full, func(w *worker.Worker) { w.Saga(travel(local("a"))); w.Saga(travel(local("b"))) },
			"saga travel version 1 is registered with two different plans"},
		"no begin row":        {trusting, versions(seat(), local("a")), "version 1 has no begin row, version 2 has one"},
		"no begin row later":  {trusting, versions(local("a"), seat()), "version 2 has no begin row, version 1 has one"},
		"an activity's name":  {full, func(w *worker.Worker) { w.Activity("SagaDo", func() error { return nil }) }, "one of Holdfast's own"},
		"an activity twice":   {full, func(w *worker.Worker) { registerTwice(w, func() error { return nil }) }, "registered twice"},
		"no activity":         {full, func(w *worker.Worker) { w.Activity("x", nil) }, "needs a name and a function"},
		"no activity's shape": {full, func(w *worker.Worker) { w.Activity("x", func() {}) }, "needs a name and a function"},
		"its worker":          {bare, func(w *worker.Worker) { w.Activity("x", func() error { return nil }) }, "needs Options.Temporal"},
		"no topic":            {full, takes(func(p *worker.Participant) { p.Topic = "" }), "the topic is empty"},
		"a wildcard":          {full, takes(func(p *worker.Participant) { p.Topic = "a.*" }), "topic"},
		"no function":         {full, takes(func(p *worker.Participant) { p.Do = nil }), "Do is nil"},
		"no Undo topic":       {full, takes(func(p *worker.Participant) { p.UndoTopic, p.Undo = "", nothing }), "Undo needs an UndoTopic"},
		"one topic":           {full, takes(func(p *worker.Participant) { p.UndoTopic = p.Topic }), "give the Undo its own"},
		"no database":         {bare, takes(func(p *worker.Participant) { p.DB = nil }), "needs a DB"},
		"negative":            {full, takes(func(p *worker.Participant) { p.Tries = -1 }), "a negative limit"},
		"a bad name":          {full, takes(func(p *worker.Participant) { p.Name = "a b" }), "participant's name"},
		"little prefetch":     {full, takes(func(p *worker.Participant) { p.Prefetch, p.Concurrency = 1, 2 }), "Prefetch"},
		"two of one name":     {full, func(w *worker.Worker) { takes(func(*worker.Participant) {})(w); takes(func(*worker.Participant) {})(w) }, "would share a queue"},
		"a consumer's": {full, func(w *worker.Worker) {
			w.Consume(worker.Consumer{Name: "a.do", Topics: []string{"x"}, HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
			takes(func(*worker.Participant) {})(w)
		}, "would share a queue"},
		"a participant's": {full, func(w *worker.Worker) {
			takes(func(*worker.Participant) {})(w)
			w.Consume(worker.Consumer{Name: "a.do", Topics: []string{"x"}, HandleAtLeastOnce: func(context.Context, holdfast.Message) error { return nil }})
		}, "a.do"},
	} {
		w, err := worker.New(x.o)
		require.NoError(t, err)
		x.register(w)
		err = w.Run(t.Context())
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
		require.ErrorContains(t, err, x.want, name)
	}
}

func TestInvalidStarts(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	def := travel(local("a"))
	w := s.agency(def)
	start := func(def saga.Saga[journey], j journey) error {
		_, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
		return err
	}
	for _, key := range []string{"", "a\n", strings.Repeat("k", holdfast.MaxName+1)} {
		require.ErrorIs(t, start(def, journey{ID: key}), holdfast.ErrInvalid, "%q", key)
	}
	require.ErrorIs(t, start(def, journey{ID: "k", By: strings.Repeat("b", core.MaxData)}), holdfast.ErrTooLarge)
	other := def
	other.Version = 2
	err := start(other, journey{ID: "k"})
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "no version 2 of saga travel, only 1: register it with Saga before Run")
	_, err = worker.StartSaga(s.ctx(), w.Worker, saga.Saga[func()]{Name: "travel"}, nil)
	require.ErrorIs(t, err, holdfast.ErrInvalid)

	w.stop()
	require.ErrorIs(t, start(def, journey{ID: "k"}), holdfast.ErrNotRunning)
	_, err = worker.JoinSaga(w.Worker, def, "k").Wait(s.ctx())
	require.ErrorIs(t, err, holdfast.ErrNotRunning)
}

func registerTwice(w *worker.Worker, f any) {
	w.Activity("x", f)
	w.Activity("x", f)
}
