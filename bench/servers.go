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

// topic declares a consumer's queue for a competitor and returns the topic that
// leads to it. The queue is purged after each measurement.
func (s *servers) topic(ctx context.Context, competitor string) (string, error) {
	topic := topicOf(competitor)
	return topic, s.broker.DeclareConsumer(ctx, competitor, []string{topic})
}

func topicOf(competitor string) string { return competitor + ".order.placed" }

// ready is the number of messages in a queue that no consumer holds.
func (s *servers) ready(queue string) (int, error) {
	ch, err := s.admin.Channel()
	if err != nil {
		return 0, err
	}
	defer func() { _ = ch.Close() }()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	return q.Messages, err
}

// mostHalfQueues is how many half queues a group can have.
const mostHalfQueues = 16

// halfQueues are the names that a group's half queues can have; those after the
// first exist only where a worker was told so.
func (s *servers) halfQueues(group string) []string {
	first := s.broker.HalfQueue(group)
	names := []string{first}
	for n := 2; n <= mostHalfQueues; n++ {
		names = append(names, fmt.Sprintf("%s#%d", first, n))
	}
	return names
}

// emptied waits until no message in the queues waits for a consumer. A queue that
// does not exist is empty.
func (s *servers) emptied(ctx context.Context, queues ...string) error {
	for _, q := range queues {
		for {
			n, err := s.ready(q)
			var missing *amqp.Error
			if errors.As(err, &missing) && missing.Code == amqp.NotFound {
				break
			}
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			if pause(ctx, lookEvery) != nil {
				return fmt.Errorf("%d messages are left in %s: %w", n, q, context.Cause(ctx))
			}
		}
	}
	return nil
}

// purge empties queues.
func (s *servers) purge(queues ...string) error {
	ch, err := s.admin.Channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	for _, q := range queues {
		if _, err := ch.QueuePurge(q, false); err != nil {
			return fmt.Errorf("purge %s: %w", q, err)
		}
	}
	return nil
}

func (s *servers) delete(queues ...string) error {
	ch, err := s.admin.Channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	for _, q := range queues { // deleting one that was never made is no error
		if _, err := ch.QueueDelete(q, false, false, false); err != nil {
			return fmt.Errorf("delete %s: %w", q, err)
		}
	}
	return nil
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

// leaves notes queues that are to be deleted at the end. One that is never made
// may be among them.
func (s *servers) leaves(queues ...string) { s.left = append(s.left, queues...) }

// leavesRetries notes the queues in which messages wait so long to be tried again.
func (s *servers) leavesRetries(delays ...time.Duration) { s.retries = append(s.retries, delays...) }

func (s *servers) deleteQueues() error {
	dead := s.broker.DeadQueue()
	queues := append([]string{dead, s.broker.OversizedQueue()}, s.left...)
	exchanges := []string{s.broker.TopicsExchange(), dead, s.prefix + ".retry", s.prefix + ".status"}
	// a queue and an exchange of the same name
	for _, delay := range append(broker.DefaultLadder(), s.retries...) {
		queues = append(queues, s.broker.RetryQueue(delay))
		exchanges = append(exchanges, s.broker.RetryQueue(delay))
	}
	if err := s.delete(queues...); err != nil {
		return err
	}
	ch, err := s.admin.Channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	for _, e := range exchanges {
		if err := ch.ExchangeDelete(e, false, false); err != nil {
			return fmt.Errorf("delete exchange %s: %w", e, err)
		}
	}
	return nil
}
