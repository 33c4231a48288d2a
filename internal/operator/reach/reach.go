// Package reach knows where an installation is, from the environment and the global flags,
// and connects to its Temporal, RabbitMQ and PostgreSQL. It also asks the processes that run.
// Commands embed its Config; doctor and waits take it.
package reach

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// TemporalOptions reads Temporal's own environment and configuration file.
func (c *Config) TemporalOptions() (client.Options, error) {
	o, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{EnvLookup: environment(c.environ),
		IncludeRemoteCodec: true})
	if err != nil {
		return o, text.WithRemedy(fmt.Errorf("configuration of Temporal: %w", err),
			"check the variables TEMPORAL_… and Temporal's configuration file")
	}
	if o.HostPort == "" {
		o.HostPort = client.DefaultHostPort
	}
	if o.Namespace == "" {
		o.Namespace = client.DefaultNamespace
	}
	if o.DataConverter == nil {
		o.DataConverter = converter.GetDefaultDataConverter()
	}
	o.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	return o, nil
}

// TemporalAddressed reports whether somebody has said where Temporal is: the
// environment, or Temporal's configuration file.
func (c *Config) TemporalAddressed() bool {
	o, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{EnvLookup: environment(c.environ)})
	return err != nil || o.HostPort != ""
}

// Temporal connects to Temporal; the caller closes it.
func (c *Config) Temporal(ctx context.Context) (*server.Temporal, error) {
	o, err := c.TemporalOptions()
	if err != nil {
		return nil, err
	}
	box, err := c.Box()
	if err != nil {
		return nil, err
	}
	dialled, err := client.DialContext(ctx, o)
	if err != nil {
		const remedy = "TEMPORAL_ADDRESS and the other variables TEMPORAL_…; `holdfast dev` starts one"
		if !c.TemporalAddressed() {
			return nil, &holdfast.UnavailableError{Part: "Temporal", Where: o.HostPort +
				", since TEMPORAL_ADDRESS is not set,", Err: err,
				Remedy: "set " + remedy}
		}
		return nil, &holdfast.UnavailableError{Part: "Temporal", Where: o.HostPort, Err: err,
			Remedy: "see that it runs, and check " + remedy}
	}
	return &server.Temporal{Client: dialled, Suggester: c.Suggester(), Address: o.HostPort, Namespace: o.Namespace,
		Data: o.DataConverter, Prefix: c.Prefix, Rolling: c.RollingUpgrade, Box: box}, nil
}

// WithTemporal connects, and runs f within the command's time limit.
func (c *Config) WithTemporal(ctx context.Context, f func(context.Context, *server.Temporal) error) error {
	return c.WithTemporalFor(ctx, DefaultTimeout, f)
}

// WithTemporalFor is WithTemporal for a command that may take longer, or less
// time, unless --timeout says otherwise.
func (c *Config) WithTemporalFor(ctx context.Context, limit time.Duration,
	f func(context.Context, *server.Temporal) error) error {
	ctx, cancel := c.Bounded(ctx, limit)
	defer cancel()
	t, err := c.Temporal(ctx)
	if err != nil {
		return err
	}
	defer t.Close()
	return f(ctx, t)
}

// Database opens the database; the caller calls closeDB. It does not connect
// yet.
func (c *Config) Database() (db *gorm.DB, closeDB func(), err error) {
	if c.DatabaseURL == "" {
		return nil, nil, text.WithRemedy(errors.New("no database"),
			"set DATABASE_URL, for example to postgres://user:password@host:5432/database")
	}
	db, err = gorm.Open(postgres.Open(unprepared(c.DatabaseURL)),
		&gorm.Config{Logger: logger.Discard, DisableAutomaticPing: true})
	if err != nil {
		// The parser's error may quote the URL, and with it the password.
		return nil, nil, errors.New("DATABASE_URL is no URL for PostgreSQL: want " +
			"postgres://user:password@host:5432/database, with special characters percent-encoded")
	}
	pool, err := db.DB()
	if err != nil {
		return nil, nil, fmt.Errorf("open the database: %w", err)
	}
	return db, func() { _ = pool.Close() }, nil
}

const execModeSetting = "default_query_exec_mode"

// unprepared is the database's URL, or its settings, with the mode in which nothing is
// prepared: nothing here is worth it, and a pooler of transactions may be between.
func unprepared(database string) string {
	u, err := url.Parse(database)
	switch {
	case strings.Contains(database, execModeSetting):
		return database
	case err != nil || u.Scheme == "":
		return database + " " + execModeSetting + "=exec"
	}
	q := u.Query()
	q.Set(execModeSetting, "exec")
	u.RawQuery = q.Encode()
	return u.String()
}

// WithDatabase runs f with the database, within the command's time limit.
func (c *Config) WithDatabase(ctx context.Context, f func(context.Context, *gorm.DB) error) error {
	db, closeDB, err := c.Database()
	if err != nil {
		return err
	}
	defer closeDB()
	ctx, cancel := c.Bounded(ctx, DefaultTimeout)
	defer cancel()
	return f(ctx, db)
}

// RemadeShown is how long doctor tells that a queue was made again.
const RemadeShown = 7 * 24 * time.Hour

// KnownConsumers returns the consumers that the group's database remembers; none where there
// is no database, or it cannot say: the PostgreSQL part tells that.
func (c *Config) KnownConsumers(ctx context.Context, skip []string) []barrier.KnownConsumer {
	if c.DatabaseURL == "" {
		return nil
	}
	for _, s := range skip {
		if s == "postgresql" {
			return nil
		}
	}
	var known []barrier.KnownConsumer
	_ = c.WithDatabase(ctx, func(ctx context.Context, db *gorm.DB) (err error) {
		known, err = barrier.KnownConsumers(ctx, db, c.Prefix)
		return err
	})
	return known
}

// TLS is how to speak it with RabbitMQ.
func (c *Config) TLS() broker.TLS { return broker.TLS{CA: c.AMQPCA, Cert: c.AMQPCert, Key: c.AMQPKey} }

// BrokerOptions are how to connect to RabbitMQ; name is how the connections are called there.
func (c *Config) BrokerOptions(name string) (broker.Options, error) {
	signer, err := c.Signer()
	return broker.Options{URL: c.AMQPURL, TLS: c.TLS(), Prefix: c.Prefix, RollingUpgrade: c.RollingUpgrade, Name: name,
		Signer: signer, Signing: c.Signing}, err
}

// openBroker connects to RabbitMQ; name is as in BrokerOptions.
func (c *Config) openBroker(ctx context.Context, name string) (*broker.Broker, error) {
	o, err := c.BrokerOptions(name)
	if err != nil {
		return nil, err
	}
	return broker.Open(ctx, o)
}

// WithBroker connects to RabbitMQ, and runs f within the command's time limit.
func (c *Config) WithBroker(ctx context.Context, f func(context.Context, *broker.Broker) error) error {
	if c.AMQPURL == "" {
		return text.WithRemedy(errors.New("no address of RabbitMQ"),
			"set AMQP_URL, for example to amqp://user:password@host:5672/vhost")
	}
	ctx, cancel := c.Bounded(ctx, DefaultTimeout)
	defer cancel()
	b, err := c.openBroker(ctx, "holdfast half")
	if err != nil {
		return err
	}
	defer func() { _ = b.Close(ctx) }() // nothing was published
	return f(ctx, b)
}

// Asked are the processes of the prefix, which are asked once however many parts of a
// command wish to know.
type Asked func() ([]broker.ProcessStatus, error)

// ErrNotAsked says why no process was asked.
var ErrNotAsked = errors.New("the processes were not asked: no address of RabbitMQ, or it is skipped")

// AskOnce returns what asks the processes, once, over RabbitMQ.
func (c *Config) AskOnce(ctx context.Context, skip []string) Asked {
	return sync.OnceValues(func() (answers []broker.ProcessStatus, err error) {
		if c.AMQPURL == "" || slices.Contains(skip, "rabbitmq") {
			return nil, ErrNotAsked
		}
		err = c.WithBroker(ctx, func(ctx context.Context, b *broker.Broker) error {
			answers, err = b.Ask(ctx, 0)
			return err
		})
		return answers, err
	})
}

// Definitions asks the running processes for their sagas.
func (c *Config) Definitions(ctx context.Context) ([]broker.SagaDefinition, error) {
	if c.AMQPURL == "" {
		return nil, text.WithRemedy(errors.New("the running processes cannot be asked: no address of RabbitMQ"),
			"set AMQP_URL, or name the group with --group")
	}
	b, err := c.openBroker(ctx, "holdfast")
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close(ctx) }() // nothing was published
	answers, err := b.Ask(ctx, 0)
	return processes.DefinitionsOf(answers), err
}
