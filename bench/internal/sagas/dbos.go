package sagas

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// DBOS is how the local saga is written with DBOS Transact.
var DBOS = contest.Competitor{
	Name: "dbos-saga",
	About: fmt.Sprintf("DBOS Transact for Go, in this process: a workflow with the same three inserts, run and awaited, "+
		"each a RunAsTransaction on the pool of %d connections that DBOS has its own tables on, so that the insert "+
		"and DBOS's record of the step commit together; inserts in SQL on pgx, without gorm; "+
		"compensation written by hand. No message to a broker, no other process, no lock against a late step",
		servers.PoolSize),
	Most: contest.SlowMost,
	Open: contest.Lazily(openDBOS),
}

// What a DBOS application is called.
const (
	dbosApplication = "bench-sagas"
	dbosVersion     = "1" // or it is worked out from the program, at each start
)

const dbosStopTimeout = 30 * time.Second

func openDBOS(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
	config, err := pgxpool.ParseConfig(s.DSN)
	if err != nil {
		return nil, err
	}
	config.MaxConns = servers.PoolSize
	config.MaxConnIdleTime = time.Hour // the other pools keep theirs, too
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	app, err := dbos.NewContext(context.WithoutCancel(ctx), dbos.Config{AppName: dbosApplication,
		ApplicationVersion: dbosVersion, SystemDBPool: pool, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		pool.Close()
		return nil, err
	}
	stop := func() error {
		err := dbos.Shutdown(app, dbosStopTimeout)
		pool.Close()
		return err
	}
	source, err := dbos.NewDataSource(app, pool)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	d := &dbosSaga{source}
	dbos.RegisterWorkflow(app, d.run)
	if err := dbos.Launch(app); err != nil {
		return nil, errors.Join(err, stop())
	}
	b := &books{db: s.DB, local: 3}
	return &contest.Entry{
		Prepare: b.open,
		Drive: b.drive(func(_ context.Context, o order) (order, error) {
			h, err := dbos.RunWorkflow(app, d.run, o, dbos.WithWorkflowID(o.Number))
			if err != nil {
				return o, err
			}
			return h.GetResult(dbos.WithHandleTimeout(dbosStopTimeout))
		}),
		Settle: func(ctx context.Context) error {
			err := stop()
			return errors.Join(err, b.check(ctx), b.checkDBOS(ctx))
		},
	}, nil
}

// checkDBOS reports a saga that completed and of which DBOS has not recorded its
// end and its three steps.
func (b *books) checkDBOS(ctx context.Context) error {
	var recorded int64
	err := b.db.WithContext(ctx).Raw(`SELECT count(*) FROM (SELECT DISTINCT number FROM bench_saga_rows) AS s
		JOIN dbos.workflow_status AS w ON w.workflow_uuid = s.number AND w.status = 'SUCCESS'
		WHERE ? = (SELECT count(*) FROM dbos.operation_outputs AS o WHERE o.workflow_uuid = s.number)`, b.local).
		Scan(&recorded).Error
	if err == nil && recorded != b.completed.Load() {
		err = fmt.Errorf("DBOS has recorded %d sagas, %d completed", recorded, b.completed.Load())
	}
	return err
}

// dbosSaga is the saga, with the database that its steps write to.
type dbosSaga struct{ source *dbos.DataSource }

func (d *dbosSaga) run(ctx dbos.Context, o order) (_ order, err error) {
	var done []string
	defer func() {
		if err == nil {
			return
		}
		for i := len(done) - 1; i >= 0; i-- {
			err = errors.Join(err, d.undo(ctx, o, done[i]))
		}
	}()
	for _, step := range []string{stepCreate, stepInvoice, stepConfirm} {
		id, err := dbos.RunAsTransaction(ctx, d.source, func(ctx context.Context, tx dbos.Tx) (id int64, err error) {
			err = tx.QueryRow(ctx, `INSERT INTO bench_saga_rows (number, step, customer, cents, created_at)
				VALUES ($1, $2, $3, $4, $5) RETURNING id`, o.Number, step, o.Customer, o.Cents, time.Now()).Scan(&id)
			return id, err
		})
		if err != nil {
			return o, err
		}
		done = append(done, step)
		o.Rows = append(o.Rows, id)
	}
	return o, nil
}

func (d *dbosSaga) undo(ctx dbos.Context, o order, step string) error {
	_, err := dbos.RunAsTransaction(ctx, d.source, func(ctx context.Context, tx dbos.Tx) (int64, error) {
		r, err := tx.Exec(ctx, "DELETE FROM bench_saga_rows WHERE number = $1 AND step = $2", o.Number, step)
		if err != nil {
			return 0, err
		}
		return r.RowsAffected()
	})
	return err
}
