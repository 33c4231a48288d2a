package barrier_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// What a proxy does once it sees COMMIT, or a read.
type cut int

const (
	passCommit  cut = iota
	eatCommit       // the server never gets it
	eatAnswer       // the server commits, its answer is lost
	stallCommit     // the server never gets it, and the connection stays open
	holdCommit      // the server gets it once it is released
	eatRead         // the server never gets the read of an outcome row
)

// commitQuery is COMMIT as pgx sends it: a simple query.
var commitQuery = []byte("Q\x00\x00\x00\x0bcommit\x00")

// proxy returns base with its address replaced by a proxy's, and the proxy.
func proxy(t *testing.T, base string) (string, *cutter) {
	t.Helper()
	u, err := url.Parse(base)
	require.NoError(t, err)
	target := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &cutter{open: map[net.Conn]bool{}, stalled: make(chan struct{}, 1), released: make(chan struct{}), closed: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.add(client, server)
			committing := make(chan struct{}, 1)
			wg.Go(func() { p.up(client, server, committing) })
			wg.Go(func() { p.down(client, server, committing) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.closeAll()
		wg.Wait()
	})
	u.Host = listener.Addr().String()
	return u.String(), p
}

type cutter struct {
	mu   sync.Mutex
	mode cut
	open map[net.Conn]bool
	// stalled is sent to for the first COMMIT that is held up.
	stalled chan struct{}
	// released is closed to let those go on that are only held, closed to end them.
	released, closed chan struct{}
	once             sync.Once
}

// release lets the server have the COMMITs that are held.
func (p *cutter) release() { close(p.released) }

func (p *cutter) set(c cut) { p.mu.Lock(); p.mode = c; p.mu.Unlock() }
func (p *cutter) get() cut  { p.mu.Lock(); defer p.mu.Unlock(); return p.mode }
func (p *cutter) add(cs ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range cs {
		p.open[c] = true
	}
}

func (p *cutter) closeAll() {
	p.once.Do(func() { close(p.closed) })
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close()
	}
}

func (p *cutter) up(client, server net.Conn, committing chan<- struct{}) {
	defer client.Close()
	defer server.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(buf[:n], commitQuery) {
			switch p.get() {
			case eatCommit:
				return
			case stallCommit:
				p.stalled <- struct{}{}
				_, _ = io.Copy(io.Discard, client)
				return
			case holdCommit:
				p.stalled <- struct{}{}
				select {
				case <-p.released:
				case <-p.closed:
					return
				}
			case eatAnswer:
				committing <- struct{}{}
			}
		}
		if p.get() == eatRead && bytes.Contains(buf[:n], []byte("SELECT producer_group")) {
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *cutter) down(client, server net.Conn, committing <-chan struct{}) {
	defer client.Close()
	defer server.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-committing:
			return // the answer is here, so the server has committed
		default:
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestCommitWithoutAnswer(t *testing.T) {
	cases := map[string]struct {
		cut   cut
		truth holdfast.Resolution
	}{
		"lost before the server": {eatCommit, holdfast.Rollback},
		"lost after the server":  {eatAnswer, holdfast.Commit},
	}
	for name, c := range cases {
		for _, fresh := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				direct, url := migrated(t)
				via, p := proxy(t, url)
				db := open(t, via, nil)
				l := local("t1")
				l.Fresh = fresh
				r := barrier.Run(t.Context(), db, l, func(_ context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
					p.set(c.cut)
					ms[0].Body = []byte("changed")
					return placeOrder(tx, "t1")
				})
				require.Equal(t, holdfast.Unknown, r.Resolution)
				require.ErrorIs(t, r.Err, holdfast.ErrUndecided)
				require.Nil(t, r.Messages)
				p.set(passCommit)
				row, err := barrier.CheckBack(t.Context(), db, "t1", group, 0)
				require.NoError(t, err)
				require.Equal(t, c.truth, row.Resolution)
				require.Equal(t, c.truth == holdfast.Commit, orders(t, direct, "t1") == 1)
				require.Equal(t, c.truth == holdfast.Commit, row.Messages != nil)
			})
		}
	}
}

func TestCommitUnansweredUntilContextIsDone(t *testing.T) {
	_, url := migrated(t)
	via, p := proxy(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan barrier.Result, 1)
	db := open(t, via, nil)
	go func() {
		result <- barrier.Run(ctx, db, local("t1"), func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
			p.set(stallCommit)
			return placeOrder(tx, "t1")
		})
	}()
	<-p.stalled
	cancel()
	r := <-result
	p.closeAll() // the driver would wait for the server's goodbye
	require.Equal(t, holdfast.Unknown, r.Resolution)
	require.ErrorIs(t, r.Err, holdfast.ErrUndecided)
	require.ErrorIs(t, r.Err, context.Canceled)
	row, err := barrier.CheckBack(t.Context(), open(t, url, nil), "t1", group, time.Minute)
	require.NoError(t, err)
	require.Equal(t, holdfast.Rollback, row.Resolution)
}

// A row is there, and the connection is lost before it is read.
func TestRunCannotReadTheRow(t *testing.T) {
	direct, url := migrated(t)
	require.NoError(t, barrier.Run(t.Context(), direct, local("t1"), placing("t1")).Err)
	via, p := proxy(t, url)
	db := open(t, via, nil)
	p.set(eatRead)
	l := local("t1")
	l.Fresh = true
	r := barrier.Run(t.Context(), db, l, placing("t1"))
	require.Equal(t, holdfast.Unknown, r.Resolution)
	require.ErrorIs(t, r.Err, holdfast.ErrUndecided)
	row, err := barrier.CheckBack(t.Context(), db, "t1", group, 0)
	require.Error(t, err)
	require.Equal(t, holdfast.Unknown, row.Resolution)
}

func TestCheckBackCommitWithoutAnswer(t *testing.T) {
	for name, c := range map[string]cut{"before": eatCommit, "after": eatAnswer} {
		t.Run(name, func(t *testing.T) {
			_, url := migrated(t)
			via, p := proxy(t, url)
			db := open(t, via, nil)
			p.set(c)
			row, err := barrier.CheckBack(t.Context(), db, "t1", group, 0)
			require.Error(t, err)
			require.Equal(t, holdfast.Unknown, row.Resolution)
			row, err = barrier.Decide(t.Context(), db, "t2", group, holdfast.Commit, 0)
			require.Error(t, err)
			require.Equal(t, holdfast.Unknown, row.Resolution)
			p.set(passCommit)
			row, err = barrier.CheckBack(t.Context(), db, "t1", group, 0)
			require.NoError(t, err)
			require.Equal(t, holdfast.Rollback, row.Resolution)
		})
	}
}

func TestConsumeCommitWithoutAnswer(t *testing.T) {
	direct, url := migrated(t)
	via, p := proxy(t, url)
	db := open(t, via, nil)
	handle := func(_ context.Context, tx *gorm.DB) error { return placeOrder(tx, "m1") }
	p.set(eatAnswer)
	repeated, err := barrier.Consume(t.Context(), db, "billing", "m1", handle)
	require.Error(t, err)
	require.False(t, repeated)
	p.set(passCommit)
	repeated, err = barrier.Consume(t.Context(), db, "billing", "m1", handle)
	require.NoError(t, err)
	require.True(t, repeated)
	require.Equal(t, 1, orders(t, direct, "m1"))
}

func TestStepCommitWithoutAnswer(t *testing.T) {
	for name, c := range map[string]cut{"before": eatCommit, "after": eatAnswer} {
		t.Run(name, func(t *testing.T) {
			direct, url := migrated(t)
			via, p := proxy(t, url)
			db := open(t, via, nil)
			run := func(_ context.Context, tx *gorm.DB) error { return placeOrder(tx, "s1") }
			undo := func(_ context.Context, tx *gorm.DB) error { return placeOrder(tx, "u1") }
			_, err := barrier.Consume(t.Context(), direct, "billing", "m1", func(context.Context, *gorm.DB) error { return nil })
			require.NoError(t, err)

			p.set(c)
			repeated, err := barrier.Step(t.Context(), db, step("m1"), run)
			require.ErrorContains(t, err, "COMMIT for step compensate (undo) of m1")
			require.False(t, repeated)
			for _, id := range []string{"m1", "m2"} {
				result, err := barrier.Undo(t.Context(), db, "billing", id, id+".notice", undo)
				require.ErrorContains(t, err, "COMMIT for compensation notice "+id)
				require.Empty(t, result)
			}

			p.set(passCommit)
			repeated, err = barrier.Step(t.Context(), db, step("m1"), run)
			require.NoError(t, err)
			require.Equal(t, c == eatAnswer, repeated)
			for id, want := range map[string]barrier.UndoResult{"m1": barrier.Undone, "m2": barrier.Blocked} {
				if c == eatAnswer {
					want = barrier.Repeated
				}
				result, err := barrier.Undo(t.Context(), db, "billing", id, id+".notice", undo)
				require.NoError(t, err)
				require.Equal(t, want, result, id)
			}
			require.Equal(t, 1, orders(t, direct, "s1"))
			require.Equal(t, 1, orders(t, direct, "u1"))
		})
	}
}

func TestSagaStepCommitWithoutAnswer(t *testing.T) {
	for name, c := range map[string]cut{"before": eatCommit, "after": eatAnswer} {
		t.Run(name, func(t *testing.T) {
			direct, url := migrated(t)
			via, p := proxy(t, url)
			db := open(t, via, nil)
			doStep(t, direct, "s3", false, doing("s3", "", refuse("sold out")))
			p.set(c)
			for _, id := range []string{"s1", "s3"} {
				_, err := barrier.DoStep(t.Context(), db, id, "reserve", true, doing(id, `"R-1"`, nil))
				require.ErrorContains(t, err, "COMMIT for step reserve (do) of "+id)
			}
			_, err := barrier.UndoStep(t.Context(), db, "s2", "reserve", "cancelled", neverUndo(t))
			require.ErrorContains(t, err, "COMMIT for step reserve (undo) of s2")

			p.set(passCommit)
			for _, id := range []string{"s1", "s3"} {
				r := doStep(t, db, id, true, doing(id, `"R-1"`, nil))
				require.Equal(t, barrier.StepResult{Outcome: barrier.StepDone, Result: []byte(`"R-1"`), Repeated: c == eatAnswer}, r)
				require.Equal(t, []string{id}, effects(t, direct, id))
			}
			want := barrier.Blocked
			if c == eatAnswer {
				want = barrier.Repeated
			}
			require.Equal(t, want, undoOf(t, db, "s2", "cancelled", neverUndo(t)))

			p.set(c)
			_, err = barrier.UndoStep(t.Context(), db, "s1", "reserve", "cancelled", undoingStep("s1"))
			require.ErrorContains(t, err, "COMMIT for step reserve (undo) of s1")
			p.set(passCommit)
			if c == eatCommit {
				want = barrier.Undone
			}
			require.Equal(t, want, undoOf(t, db, "s1", "cancelled", undoingStep("s1")))
			require.Equal(t, []string{"s1", `s1 undone "R-1"`}, effects(t, direct, "s1"))
		})
	}
}

func TestBackendTerminatedInside(t *testing.T) {
	for name, swallow := range map[string]bool{"returned": false, "swallowed": true} {
		t.Run(name, func(t *testing.T) {
			db, _ := migrated(t)
			l := local("t1")
			l.Fresh = true
			r := barrier.Run(t.Context(), db, l, func(_ context.Context, tx *gorm.DB, _ []*holdfast.Message) error {
				require.NoError(t, placeOrder(tx, "t1"))
				err := tx.Exec("SELECT pg_terminate_backend(pg_backend_pid())").Error
				require.Error(t, err)
				if swallow {
					return nil
				}
				return err
			})
			want := holdfast.Rollback
			if swallow {
				want = holdfast.Unknown // COMMIT met a dead connection
				require.ErrorIs(t, r.Err, holdfast.ErrUndecided)
			}
			require.Equal(t, want, r.Resolution)
			row, err := barrier.CheckBack(t.Context(), db, "t1", group, 0)
			require.NoError(t, err)
			require.Equal(t, holdfast.Rollback, row.Resolution)
			require.Zero(t, orders(t, db, "t1"))
		})
	}
}

// A transaction chosen by the caller, whose earlier run may be committed, is
// not called rolled back because the database is away.
func TestDatabaseAway(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	_, base := migrated(t)
	u, err := url.Parse(base)
	require.NoError(t, err)
	u.User = url.UserPassword("holdfast", "s3cret")
	u.Host = listener.Addr().String()
	db, err := gorm.Open(postgres.Open(u.String()), &gorm.Config{DisableAutomaticPing: true})
	require.NoError(t, err)
	t.Cleanup(func() { pool, _ := db.DB(); _ = pool.Close() })

	check := func(err error) {
		t.Helper()
		var away *holdfast.UnavailableError
		require.ErrorAs(t, err, &away)
		require.Equal(t, "PostgreSQL", away.Part)
		require.Contains(t, away.Where, listener.Addr().String())
		require.NotEmpty(t, away.Remedy)
		require.NotContains(t, err.Error(), "s3cret")
	}
	never := func(context.Context, *gorm.DB, []*holdfast.Message) error { t.Error("called"); return nil }
	l := local("t1")
	r := barrier.Run(t.Context(), db, l, never)
	require.Equal(t, holdfast.Unknown, r.Resolution)
	require.ErrorIs(t, r.Err, holdfast.ErrUndecided)
	check(r.Err)
	l.Fresh = true
	r = barrier.Run(t.Context(), db, l, never)
	require.Equal(t, holdfast.Rollback, r.Resolution)
	check(r.Err)
	row, err := barrier.CheckBack(t.Context(), db, "t1", group, 0)
	require.Equal(t, holdfast.Unknown, row.Resolution)
	check(err)
	_, err = barrier.Consume(t.Context(), db, "billing", "m1", nil)
	check(err)
	_, err = barrier.Read(t.Context(), db, "t1")
	check(err)
	require.NotErrorIs(t, err, holdfast.ErrNotFound)
	check(barrier.Migrate(t.Context(), db))
	check(barrier.CheckMigrated(t.Context(), db))
}
