package worker_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	gormlogger "gorm.io/gorm/logger"
	"gorm.io/plugin/dbresolver"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// What an application may do inside a transaction, it may do wherever Holdfast gives
// it one: the same uses in plain db.Transaction and in every closure, handler, step
// and participant, twice, and afterwards outside again.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(s *site) *gorm.DB{
		"as it is":    func(s *site) *gorm.DB { return conformanceDB(s, &gorm.Config{}) },
		"PrepareStmt": func(s *site) *gorm.DB { return conformanceDB(s, &gorm.Config{PrepareStmt: true}) },
		"replicas": func(s *site) *gorm.DB {
			db := conformanceDB(s, &gorm.Config{SkipDefaultTransaction: true})
			replica, err := s.effects.DB()
			require.NoError(t, err)
			require.NoError(t, db.Use(dbresolver.Register(dbresolver.Config{Replicas: []gorm.Dialector{postgres.New(postgres.Config{Conn: replica})}})))
			return db
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sagaSite(t)
			conforms(s, open(s))
		})
	}
}

func conformanceDB(s *site, cfg *gorm.Config) *gorm.DB {
	cfg.Logger = gormlogger.Discard
	db, err := gorm.Open(postgres.Open(s.at.OrdersURL), cfg)
	require.NoError(s.t, err)
	pool, err := db.DB()
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = pool.Close() })
	require.NoError(s.t, db.AutoMigrate(&mark{}, &line{}))
	return db
}

func conforms(s *site, db *gorm.DB) {
	pool, err := db.DB()
	require.NoError(s.t, err)
	stmt, err := pool.PrepareContext(s.ctx(), insertMark)
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, stmt.Close()) }()
	app := &application{db: db, pool: pool, stmt: stmt}
	places := newPlaces(s, app)

	var want []string
	plainly := func() {
		id := newID()
		require.NoError(s.t, db.Transaction(func(tx *gorm.DB) error { return app.useAll(s.ctx(), tx, id) }))
		marks := s.marks(id)
		if want != nil {
			require.Equal(s.t, want, marks)
		}
		want = marks
	}
	plainly()
	require.Greater(s.t, len(want), 20)
	for range 2 {
		for _, used := range places.all(s) {
			require.Equal(s.t, want, s.marks(used), used)
		}
		plainly()
	}
	require.NoError(s.t, barrier.CheckMigrated(s.ctx(), db))
}

// marks are what the uses have left for id, in order.
func (s *site) marks(id string) (uses []string) {
	s.t.Helper()
	require.NoError(s.t, s.orders.Raw("SELECT use FROM marks WHERE tx = ? ORDER BY id", id).Scan(&uses).Error)
	return uses
}

// places are where Holdfast gives the application a transaction.
type places struct {
	app *application
	w   *running
	def saga.Saga[journey]

	undone chan string // the messages that the consumer has undone
	mu     sync.Mutex
	used   map[string]bool // what was used, by "place ID"
}

// use does all the uses under an ID of their own.
func (p *places) use(ctx context.Context, tx *gorm.DB, place, id string) error {
	if err := p.app.useAll(ctx, tx, place+" "+id); err != nil {
		return holdfast.Permanent(fmt.Errorf("%s: %w", place, err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used[place+" "+id] = true
	return nil
}

func (p *places) wasUsed(place, id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used[place+" "+id]
}

func newPlaces(s *site, app *application) *places {
	p := &places{app: app, undone: make(chan string, 10), used: map[string]bool{}}
	o := s.options()
	o.DB = app.db
	step := func(place string) func(context.Context, *gorm.DB, *journey) error {
		return func(ctx context.Context, tx *gorm.DB, j *journey) error { return p.use(ctx, tx, place, j.ID) }
	}
	takes := func(place string) worker.Participation {
		return worker.TypedParticipation(func(ctx context.Context, tx *gorm.DB, j journey) (string, error) {
			return "done", p.use(ctx, tx, place, j.ID)
		})
	}
	p.def = travel(saga.Local("room", step("step"), step("step's Undo")).Retry(once),
		saga.Message("seat", "seat.take", "seat.leave").Retry(once),
		saga.Local("no", func(context.Context, *gorm.DB, *journey) error { return saga.Refuse("sold out") }, nil).NoUndo())
	for _, name := range []string{"seat.take", "payments", "failing"} {
		s.consumers[name] = true
	}
	p.w = s.runWith(o, func(w *worker.Worker) {
		w.Saga(p.def)
		w.Participate(worker.Participant{Topic: "seat.take", UndoTopic: "seat.leave", Tries: 1, Ladder: noLadder,
			Do: takes("participant"), Undo: takes("participant's Undo")})
		w.Local("place", func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			return p.use(ctx, tx, "registered", m.ID)
		})
		w.Consume(worker.Consumer{Name: "payments", Topics: []string{placed}, Ladder: noLadder,
			Handle: func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
				return p.use(ctx, tx, "handler", m.ID)
			},
			Undo: func(ctx context.Context, tx *gorm.DB, m holdfast.Message, _ holdfast.Failure) error {
				defer func() { p.undone <- m.ID }()
				return p.use(ctx, tx, "handler's Undo", m.ID)
			}})
		w.Consume(worker.Consumer{Name: "failing", Topics: []string{placed}, Ladder: noLadder, DeadLetters: holdfast.Policy{Action: holdfast.PolicyCompensate},
			HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error {
				until(s.t, "it is handled, so that there is something to undo", func() bool { return p.wasUsed("handler", m.ID) })
				return holdfast.Permanent(errOops)
			}})
		w.Compensate(placed, func(ctx context.Context, tx *gorm.DB, m holdfast.Message, _ holdfast.Failure) error {
			return p.use(ctx, tx, "Compensate", m.ID)
		})
	})
	return p
}

// all uses every place once, and returns what was used.
func (p *places) all(s *site) []string {
	s.t.Helper()
	p.mu.Lock()
	p.used = map[string]bool{}
	p.mu.Unlock()
	want := 0
	for _, lane := range []holdfast.Lane{holdfast.Traced, holdfast.Express} {
		p.closures(s, lane)
		want += 7
	}
	j, err := s.travels(p.w, p.def)
	require.ErrorIs(s.t, err, holdfast.ErrSagaCompensated)
	require.ErrorContains(s.t, err, "sold out", j.ID)
	id := newID()
	_, err = p.w.Send(s.ctx(), order(id), func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
	require.NoError(s.t, err)
	require.Equal(s.t, id, next(s.t, p.undone))
	until(s.t, "the Undo is committed", func() bool { return len(s.marks("handler's Undo "+id)) > 0 })
	want += 4 + 3
	require.Len(s.t, p.used, want)
	return slices.Collect(maps.Keys(p.used))
}

// closures uses each form of a local transaction in a lane: with a chosen ID,
// several messages, registered, split, and some at a time, which share a workflow.
func (p *places) closures(s *site, lane holdfast.Lane) {
	s.t.Helper()
	message := func(id string) holdfast.Message {
		return holdfast.Message{Topic: "nobody.hears", ID: id, Lane: lane, AllowUnrouted: true, Body: []byte("x")}
	}
	local := func(place string) worker.Local {
		return func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error { return p.use(ctx, tx, place, m.ID) }
	}
	_, err := p.w.Send(s.ctx(), message(newID()), local("Send"))
	require.NoError(s.t, err, lane)
	_, err = p.w.SendAll(s.ctx(), []holdfast.Message{message(""), message("")}, func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
		return p.use(ctx, tx, "SendAll", ms[0].ID)
	})
	require.NoError(s.t, err, lane)
	_, err = p.w.Start(s.ctx(), "place", message(newID()))
	require.NoError(s.t, err, lane)
	split, err := p.w.Begin(s.ctx(), 0, message(newID()))
	require.NoError(s.t, err, lane)
	require.NoError(s.t, p.app.db.Transaction(func(tx *gorm.DB) error {
		if _, err := split.Barrier(s.ctx(), tx); err != nil {
			return err
		}
		return p.use(s.ctx(), tx, "Begin", split.Receipt().TxID)
	}), lane)
	_, err = split.Commit(s.ctx())
	require.NoError(s.t, err, lane)
	errs := make(chan error, 3)
	for range cap(errs) {
		go func() {
			_, err := p.w.Send(s.ctx(), message(""), local("Send, of several"))
			errs <- err
		}()
	}
	for range cap(errs) {
		require.NoError(s.t, <-errs, lane)
	}
}
