package main

import (
	"context"
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
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stack"
)

const (
	startTimeout   = 20 * time.Minute // the first start builds and installs
	connectTimeout = time.Minute
	closeTimeout   = 20 * time.Second
	// poolSize is the number of database connections, for all competitors alike.
	poolSize = 32
)

// temporalServer is a Temporal that can be measured on.
type temporalServer struct {
	name   string // as the flag and the results call it
	about  string
	server stack.TemporalServer
}

// temporalServers are the private ones; the first is the default.
var temporalServers = []temporalServer{
	{"postgresql", fmt.Sprintf("PostgreSQL, %d history shards", stack.TemporalShards), stack.TemporalPostgreSQL},
	{"dev", "dev server: SQLite, 1 history shard", stack.TemporalDev},
}

// externalTemporal is the one that TEMPORAL_ADDRESS names.
const externalTemporal = "external"

// servers are the three servers and one client of each. All competitors share
// them; each has queues, topics and task queues of its own, by its name.
type servers struct {
	stack    *stack.Stack
	prefix   string // of everything that is made
	database string // the name of db, and the beginning of the others'
	db       *gorm.DB
	dsn      string              // its address
	pools    map[string]*gorm.DB // all databases that were made, by name
	temporal client.Client
	broker   *broker.Broker
	admin    *amqp.Connection // to purge and delete queues

	left    []string        // names of queues to delete at the end
	retries []time.Duration // delays whose retry queues are to be deleted then
}

// openServers starts private servers, or takes those that the environment
// names, and connects. The context ends the start only.
func openServers(ctx context.Context, temporal temporalServer, progress io.Writer) (*servers, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	st, err := stack.Start(ctx, stack.Options{Out: progress, TemporalServer: temporal.server})
	if err != nil {
		return nil, err
	}
	id := strings.ReplaceAll(uuid.NewString()[:8], "-", "")
	s := &servers{stack: st, prefix: "bench-" + id, database: "holdfast_bench_" + id, pools: map[string]*gorm.DB{}}
	if err := s.connect(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *servers) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := s.openDatabase(ctx); err != nil {
		return err
	}
	o, err := s.stack.TemporalOptions()
	if err != nil {
		return err
	}
	o.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	if s.temporal, err = client.DialContext(ctx, o); err != nil {
		return err
	}
	if s.admin, err = amqp.Dial(s.stack.AMQPURL()); err != nil {
		return err
	}
	s.broker, err = broker.Open(ctx, broker.Options{URL: s.stack.AMQPURL(), Prefix: s.prefix})
	return err
}

func (s *servers) openDatabase(ctx context.Context) (err error) {
	if s.db, s.dsn, err = s.newDatabase(ctx, s.database, poolSize); err != nil {
		return err
	}
	return s.db.WithContext(ctx).AutoMigrate(&order{})
}

// newDatabase makes a database with Holdfast's tables. It is dropped at the end.
func (s *servers) newDatabase(ctx context.Context, name string, connections int) (db *gorm.DB, dsn string, err error) {
	if dsn, err = s.stack.CreateDatabase(ctx, name); err != nil {
		return nil, "", err
	}
	s.pools[name] = nil
	if db, err = openPool(dsn, connections); err != nil {
		return nil, "", err
	}
	s.pools[name] = db
	return db, dsn, barrier.Migrate(ctx, db)
}

func openPool(dsn string, connections int) (*gorm.DB, error) {
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

// env is the environment of a process that is to use the same servers.
func (s *servers) env() []string {
	return append(os.Environ(), append(s.stack.Env(), "HOLDFAST_PREFIX="+s.prefix)...)
}

// close removes what was made and stops what was started.
func (s *servers) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	if s.broker != nil {
		errs = append(errs, s.broker.Close(ctx), s.deleteQueues())
	}
	if s.admin != nil {
		errs = append(errs, s.admin.CloseDeadline(time.Now().Add(closeTimeout)))
	}
	if s.temporal != nil {
		s.temporal.Close()
	}
	for name, db := range s.pools {
		if db != nil {
			if pool, err := db.DB(); err == nil {
				errs = append(errs, pool.Close())
			}
		}
		errs = append(errs, s.stack.DropDatabase(ctx, name))
	}
	return errors.Join(append(errs, s.stack.Close())...)
}

// versions asks the servers; one that does not say is left out.
func (s *servers) versions(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	v := map[string]string{}
	if version, ok := s.admin.Properties["version"].(string); ok {
		v["RabbitMQ"] = version
	}
	var version string
	if err := s.db.WithContext(ctx).Raw("SHOW server_version").Scan(&version).Error; err == nil {
		v["PostgreSQL"] = version
	}
	if info, err := s.temporal.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{}); err == nil {
		v["Temporal"] = info.GetServerVersion()
	}
	return v
}
