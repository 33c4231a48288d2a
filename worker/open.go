package worker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	temporallog "go.temporal.io/sdk/log"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/databases"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
)

// Open returns a worker of the group that connects to what the environment names. It
// waits until RabbitMQ, PostgreSQL and Temporal can be reached, until ctx is done or
// Options.Timeouts.Start has passed; its error names each of them that cannot, and the
// variable to look at. An empty group makes a worker that only consumes and takes part
// in sagas, and needs no Temporal.
//
//	AMQP_URL                   RabbitMQ; required. Several addresses with commas between
//	HOLDFAST_AMQP_CA           files for TLS with RabbitMQ, see Options.AMQPTLS; with
//	                           HOLDFAST_AMQP_CERT and HOLDFAST_AMQP_KEY
//	DATABASE_URL               PostgreSQL; required, unless Options.DB, Options.RemoteCheck or Options.SendOnly is set
//	TEMPORAL_ADDRESS           Temporal; default 127.0.0.1:7233. All of Temporal's own variables
//	                           count, and its configuration file: TEMPORAL_NAMESPACE,
//	                           TEMPORAL_API_KEY, TEMPORAL_TLS_…, TEMPORAL_PROFILE
//	HOLDFAST_PREFIX            Options.Prefix
//	HOLDFAST_DECLARE           Options.Declare
//	HOLDFAST_CONSUMER_TIMEOUT  Options.Timeouts.Consumer
//	HOLDFAST_ROLLING_UPGRADE   Options.RollingUpgrade
//	HOLDFAST_WEBHOOK_URL       Options.Webhook, with HOLDFAST_WEBHOOK_SECRET
//	HOLDFAST_CONSOLE_URL       Options.ConsoleURL
//	HOLDFAST_KEYRING           Options.Keyring: a file of package keyring
//	HOLDFAST_ENCRYPTION        Options.Encryption: on, read-only or required
//	HOLDFAST_HASH_KEYS         Options.HashKeys: on or off
//	HOLDFAST_SIGNING_KEYRING   Options.Signer: a file of package keyring that signs
//	HOLDFAST_SIGNING           Options.Signing: on, off or required
//
// Each change may set other options before anything is opened. What it sets is used
// instead of the variable, and a Temporal client or a DB that it sets stays the caller's:
//
//	w, err := worker.Open(ctx, "orders", func(o *worker.Options) { o.Lane = holdfast.Express })
//
// Options.Logger is slog.Default here. With Options.Lane Express, Temporal is used only
// where the environment says where it is, and is not waited for.
//
// The worker owns what Open opened: [Worker.Run] closes it before it returns, and so
// does [Worker.Close]. Holdfast's tables may be missing as yet: Run needs them, and
// [barrier.Migrate] with [Worker.DB] makes them, as `holdfast migrate` does.
func Open(ctx context.Context, group string, change ...func(*Options)) (*Worker, error) {
	o := Options{Group: group, Logger: slog.Default(),
		AMQPURL: os.Getenv("AMQP_URL"), Prefix: os.Getenv("HOLDFAST_PREFIX")}
	for _, c := range change {
		c(&o)
	}
	own := &owned{}
	w, err := own.worker(o)
	if err != nil {
		own.close()
		return nil, err
	}
	if err := w.reach(ctx); err != nil {
		_ = w.Close() // Run was not called: nil
		return nil, err
	}
	return w, nil
}

// DB is the database of the local transactions: Options.DB, or what [Open] opened. It
// may be nil. What Open opened is closed once [Worker.Run] has returned.
func (w *Worker) DB() *gorm.DB { return w.o.DB }

// Close ends Run as if its context were done, waits until it has returned, and returns
// its error. A worker from [Open] whose Run was not called closes its connections; Run
// can then not be called any more. A second Close does nothing else.
func (w *Worker) Close() error {
	w.mu.Lock()
	ran := w.endRun != nil
	if ran {
		w.endRun()
	}
	w.claimed = true
	w.mu.Unlock()
	if !ran {
		w.stop()
		_ = w.metrics.Close()
		w.owned.close()
		return nil
	}
	<-w.over
	w.owned.close() // Run may be doing it
	return w.runErr
}

// owned are the connections that Open made, and where they lead.
type owned struct {
	once     sync.Once
	temporal client.Client // nil: the caller's, or none
	pool     *sql.DB       // likewise
	// address is where Temporal was looked for, in the words of an error.
	address string
}

func (own *owned) close() {
	if own == nil {
		return
	}
	own.once.Do(func() {
		if own.temporal != nil {
			own.temporal.Close()
		}
		if own.pool != nil {
			_ = own.pool.Close()
		}
	})
}

// worker makes the connections that o lacks, all of them lazy, and the worker.
func (own *owned) worker(o Options) (*Worker, error) {
	err := errors.Join(checkEnvironment(), own.openDB(&o), own.openTemporal(&o))
	if err != nil {
		if o.AMQPURL == "" { // New would say the rest, but it needs all the others
			err = errors.Join(errNoAMQPURL, err)
		}
		return nil, err
	}
	w, err := New(o)
	if err != nil {
		return nil, err
	}
	w.owned = own
	return w, nil
}

// checkEnvironment refuses values that [New] takes for unset.
func checkEnvironment() error {
	var errs []error
	for _, name := range []string{"HOLDFAST_DECLARE", "HOLDFAST_ROLLING_UPGRADE"} {
		if v := os.Getenv(name); v != "" {
			if _, err := strconv.ParseBool(v); err != nil {
				errs = append(errs, fmt.Errorf("%w: %s is %q: want true or false", holdfast.ErrInvalid, name, v))
			}
		}
	}
	if v := os.Getenv("HOLDFAST_CONSUMER_TIMEOUT"); v != "" {
		if _, err := time.ParseDuration(v); err != nil {
			errs = append(errs, fmt.Errorf("%w: HOLDFAST_CONSUMER_TIMEOUT is %q: want a duration such as 30m",
				holdfast.ErrInvalid, v))
		}
	}
	return errors.Join(errs...)
}

// openDB opens the database; nothing is connected yet.
func (own *owned) openDB(o *Options) error {
	if o.DB != nil || o.RemoteCheck {
		return nil
	}
	url := os.Getenv("DATABASE_URL")
	if url == "" && o.SendOnly {
		return nil
	}
	if url == "" {
		return fmt.Errorf("%w: no database: set DATABASE_URL, for example to postgres://user:password@host:5432/database, "+
			"or Options.DB", holdfast.ErrInvalid)
	}
	log := logger.NewSlogLogger(orDiscard(o.Logger), logger.Config{LogLevel: logger.Warn, SlowThreshold: time.Second,
		IgnoreRecordNotFoundError: true, ParameterizedQueries: true}) // a statement's values may be secret
	db, err := gorm.Open(postgres.New(postgres.Config{DSN: url,
		OptionOpenDB: []stdlib.OptionOpenDB{stdlib.OptionBeforeConnect(rereadTLS(url))}}),
		&gorm.Config{Logger: log, DisableAutomaticPing: true})
	if err != nil {
		// The parser's error may quote the URL, and with it the password.
		return fmt.Errorf("%w: DATABASE_URL is no URL for PostgreSQL: want postgres://user:password@host:5432/database, "+
			"with special characters percent-encoded", holdfast.ErrInvalid)
	}
	if own.pool, err = db.DB(); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	own.pool.SetMaxIdleConns(databases.DefaultConcurrency) // the default of 2 has busy handlers connect all the time
	o.DB = db
	return nil
}

// rereadTLS has each new connection take the certificates as they are on disk then. While
// they cannot be read, such as in the midst of their replacement, those before count.
func rereadTLS(url string) func(context.Context, *pgx.ConnConfig) error {
	return func(_ context.Context, c *pgx.ConnConfig) error {
		if now, err := pgx.ParseConfig(url); err == nil {
			c.TLSConfig, c.Fallbacks = now.TLSConfig, now.Fallbacks
		}
		return nil
	}
}

// openTemporal makes the client; nothing is connected yet.
func (own *owned) openTemporal(o *Options) error {
	if o.Temporal != nil || o.Group == "" {
		return nil
	}
	c, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return fmt.Errorf("%w: configuration of Temporal: %w: check the variables TEMPORAL_… "+
			"and Temporal's configuration file", holdfast.ErrInvalid, err)
	}
	own.address = c.HostPort
	if c.HostPort == "" {
		if o.Lane == holdfast.Express {
			return nil
		}
		own.address = client.DefaultHostPort + ", since TEMPORAL_ADDRESS is not set,"
	}
	if o.Namespace != "" {
		c.Namespace = o.Namespace
	}
	c.Logger = temporallog.NewStructuredLogger(orDiscard(o.Logger))
	if own.temporal, err = client.NewLazyClient(c); err != nil {
		return fmt.Errorf("%w: Temporal's client: %w: check the variables TEMPORAL_…", holdfast.ErrInvalid, err)
	}
	o.Temporal = own.temporal
	return nil
}

// reach waits until what the worker needs from the start can be reached, and is left
// again: each part in its own time, so that the error names all that are away.
func (w *Worker) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.o.Timeouts.Start)
	defer cancel()
	var errs [3]error
	var parts sync.WaitGroup
	parts.Go(func() {
		errs[0] = w.retry(ctx, "RabbitMQ", func() error {
			b, err := broker.Open(ctx, w.o.brokerOptions())
			if err != nil {
				return err
			}
			return b.Close(ctx)
		})
	})
	if w.o.DB != nil {
		parts.Go(func() {
			errs[1] = w.retry(ctx, "PostgreSQL", func() error {
				_, err := barrier.Clock(ctx, w.o.DB)
				return err
			})
			if errs[1] != nil && w.owned.pool != nil {
				errs[1] = fmt.Errorf("the database that DATABASE_URL names: %w", errs[1])
			}
		})
	}
	if w.o.Temporal != nil && w.o.Lane != holdfast.Express {
		parts.Go(func() { errs[2] = w.retry(ctx, "Temporal", func() error { return w.greetTemporal(ctx) }) })
	}
	parts.Wait()
	return errors.Join(errs[:]...)
}

func (w *Worker) greetTemporal(ctx context.Context) error {
	_, err := w.o.Temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
	if err == nil {
		return nil
	}
	err = temporalerr.Unavailable("reach the server", err)
	var away *holdfast.UnavailableError
	if errors.As(err, &away) {
		away.Where = w.owned.address
	}
	return err
}

// orDiscard is log, or one that discards everything.
func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
