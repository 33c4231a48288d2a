// Package servers has the three servers that all is measured on, and one client of
// each: how they are started, what is made there, and how it is removed. The
// competitors share a Servers and keep to names of their own on it. It imports
// measure and orders only.
package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/workflows"
)

const (
	startTimeout   = 20 * time.Minute // the first start builds and installs
	connectTimeout = time.Minute
	CloseTimeout   = 20 * time.Second // for what was made to be removed
	// PoolSize is the number of database connections, for all competitors alike.
	PoolSize = 32
)

// TemporalServer is a Temporal that can be measured on.
type TemporalServer struct {
	Name   string // as the flag and the results call it
	About  string
	server stack.TemporalServer
}

// TemporalServers are the private ones; the first is the default.
var TemporalServers = []TemporalServer{
	{"postgresql", fmt.Sprintf("PostgreSQL, %d history shards", stack.TemporalShards), stack.TemporalPostgreSQL},
	{"dev", "dev server: SQLite, 1 history shard", stack.TemporalDev},
}

// ExternalTemporal is the one that TEMPORAL_ADDRESS names.
const ExternalTemporal = "external"

// Servers are the three servers and one client of each. All competitors share
// them; each has queues, topics and task queues of its own, by its name.
type Servers struct {
	Stack    *stack.Stack
	Prefix   string // of everything that is made
	Database string // the name of db, and the beginning of the others'
	DB       *gorm.DB
	DSN      string              // its address
	pools    map[string]*gorm.DB // all databases that were made, by name
	Temporal client.Client
	Broker   *broker.Broker
	admin    *amqp.Connection // to purge and delete queues

	others map[string]other // those without Holdfast's tables

	left    []string        // names of queues to delete at the end
	retries []time.Duration // delays whose retry queues are to be deleted then
}

type other struct {
	db  *sql.DB
	dsn string
}

// Open starts private servers, or takes those that the environment
// names, and connects. The context ends the start only.
func Open(ctx context.Context, temporal TemporalServer, progress io.Writer) (*Servers, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	st, err := stack.Start(ctx, stack.Options{Out: progress, TemporalServer: temporal.server})
	if err != nil {
		return nil, err
	}
	id := strings.ReplaceAll(uuid.NewString()[:8], "-", "")
	s := &Servers{Stack: st, Prefix: prefix(id), Database: "holdfast_bench_" + id, pools: map[string]*gorm.DB{},
		others: map[string]other{}}
	if err := s.connect(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// prefix is the default, as in most installations, or one of the run's own where the environment names a
// server that others may use.
func prefix(id string) string {
	if os.Getenv("AMQP_URL") != "" || os.Getenv("TEMPORAL_ADDRESS") != "" {
		return "bench-" + id
	}
	return workflows.DefaultPrefix
}

func (s *Servers) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := s.openDatabase(ctx); err != nil {
		return err
	}
	o, err := s.Stack.TemporalOptions()
	if err != nil {
		return err
	}
	o.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	if s.Temporal, err = client.DialContext(ctx, o); err != nil {
		return err
	}
	if s.admin, err = amqp.Dial(s.Stack.AMQPURL()); err != nil {
		return err
	}
	s.Broker, err = broker.Open(ctx, broker.Options{URL: s.Stack.AMQPURL(), Prefix: s.Prefix})
	return err
}

func (s *Servers) openDatabase(ctx context.Context) (err error) {
	if s.DB, s.DSN, err = s.NewDatabase(ctx, s.Database, PoolSize); err != nil {
		return err
	}
	return s.DB.WithContext(ctx).AutoMigrate(&orders.Order{})
}

// NewDatabase makes a database with Holdfast's tables. It is dropped at the end.
func (s *Servers) NewDatabase(ctx context.Context, name string, connections int) (db *gorm.DB, dsn string, err error) {
	if dsn, err = s.Stack.CreateDatabase(ctx, name); err != nil {
		return nil, "", err
	}
	s.pools[name] = nil
	if db, err = OpenPool(dsn, connections); err != nil {
		return nil, "", err
	}
	s.pools[name] = db
	return db, dsn, barrier.Migrate(ctx, db)
}

// DatabaseOf makes a database without Holdfast's tables, or finds the one that was made.
// It is dropped at the end.
func (s *Servers) DatabaseOf(ctx context.Context, name string) (db *sql.DB, dsn string, err error) {
	if made := s.others[name]; made.db != nil {
		return made.db, made.dsn, nil
	}
	if dsn, err = s.Stack.CreateDatabase(ctx, name); err != nil {
		return nil, "", err
	}
	s.pools[name] = nil
	pool, err := OpenPool(dsn, 1)
	if err != nil {
		return nil, "", err
	}
	s.pools[name] = pool
	if db, err = pool.DB(); err == nil {
		s.others[name] = other{db, dsn}
	}
	return db, dsn, err
}

// OpenPool opens a database with a number of connections.
func OpenPool(dsn string, connections int) (*gorm.DB, error) {
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections) // or most are opened anew each time
	return db, nil
}

// Env is the environment of a process that is to use the same servers.
func (s *Servers) Env() []string {
	return append(os.Environ(), append(s.Stack.Env(), "HOLDFAST_PREFIX="+s.Prefix)...)
}

// Close removes what was made and stops what was started.
func (s *Servers) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), CloseTimeout)
	defer cancel()
	var errs []error
	if s.Broker != nil {
		errs = append(errs, s.Broker.Close(ctx), s.deleteQueues())
	}
	if s.admin != nil {
		errs = append(errs, s.admin.CloseDeadline(time.Now().Add(CloseTimeout)))
	}
	if s.Temporal != nil {
		s.Temporal.Close()
	}
	for name, db := range s.pools {
		if db != nil {
			if pool, err := db.DB(); err == nil {
				errs = append(errs, pool.Close())
			}
		}
		errs = append(errs, s.Stack.DropDatabase(ctx, name))
	}
	return errors.Join(append(errs, s.Stack.Close())...)
}

// Versions asks the servers; one that does not say is left out.
func (s *Servers) Versions(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	v := map[string]string{}
	if version, ok := s.admin.Properties["version"].(string); ok {
		v["RabbitMQ"] = version
	}
	var version string
	if err := s.DB.WithContext(ctx).Raw("SHOW server_version").Scan(&version).Error; err == nil {
		v["PostgreSQL"] = version
	}
	if info, err := s.Temporal.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{}); err == nil {
		v["Temporal"] = info.GetServerVersion()
	}
	return v
}
