package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
)

// temporalServer is a connection to Temporal, and what was connected to.
type temporalServer struct {
	client.Client
	address, namespace string
	data               converter.DataConverter
}

// temporalOptions reads Temporal's own environment and configuration file.
func (a *app) temporalOptions() (client.Options, error) {
	o, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{EnvLookup: environment(a.Environ), IncludeRemoteCodec: true})
	if err != nil {
		return o, withRemedy(fmt.Errorf("configuration of Temporal: %w", err), "check the variables TEMPORAL_… and Temporal's configuration file")
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

// temporal connects to Temporal; the caller closes it.
func (a *app) temporal(ctx context.Context) (*temporalServer, error) {
	o, err := a.temporalOptions()
	if err != nil {
		return nil, err
	}
	c, err := client.DialContext(ctx, o)
	if err != nil {
		return nil, &holdfast.UnavailableError{Part: "Temporal", Where: o.HostPort, Err: err,
			Remedy: "see that it runs, and check TEMPORAL_ADDRESS and the other variables TEMPORAL_…; `holdfast dev` starts one"}
	}
	return &temporalServer{Client: c, address: o.HostPort, namespace: o.Namespace, data: o.DataConverter}, nil
}

// withTemporal connects, and runs f within the command's time limit.
func (a *app) withTemporal(ctx context.Context, f func(context.Context, *temporalServer) error) error {
	return a.withTemporalFor(ctx, defaultTimeout, f)
}

// withTemporalFor is withTemporal for a command that may take longer, or less
// time, unless --timeout says otherwise.
func (a *app) withTemporalFor(ctx context.Context, limit time.Duration, f func(context.Context, *temporalServer) error) error {
	ctx, cancel := a.bounded(ctx, limit)
	defer cancel()
	t, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	defer t.Close()
	return f(ctx, t)
}

// database opens the database; the caller calls closeDB. It does not connect
// yet.
func (a *app) database() (db *gorm.DB, closeDB func(), err error) {
	if a.DatabaseURL == "" {
		return nil, nil, withRemedy(errors.New("no database"), "set DATABASE_URL, for example to postgres://user:password@host:5432/database")
	}
	db, err = gorm.Open(postgres.Open(a.DatabaseURL), &gorm.Config{Logger: logger.Discard, DisableAutomaticPing: true})
	if err != nil {
		// The parser's error may quote the URL, and with it the password.
		return nil, nil, errors.New("DATABASE_URL is no URL for PostgreSQL: want postgres://user:password@host:5432/database, with special characters percent-encoded")
	}
	pool, err := db.DB()
	if err != nil {
		return nil, nil, fmt.Errorf("open the database: %w", err)
	}
	return db, func() { _ = pool.Close() }, nil
}

// searchAttributes decodes search attributes, which no codec encodes.
var searchAttributes = converter.GetDefaultDataConverter()
