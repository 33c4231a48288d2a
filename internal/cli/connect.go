package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
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
	suggester
	// prefix is that of the installation which is looked at.
	prefix string
	// ids is the prefix in the IDs of the workflows that are started: none while
	// processes of a version run that knows no other IDs.
	ids string
	// rolling says that processes of an older version still run.
	rolling bool
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

// temporalAddressed reports whether somebody has said where Temporal is: the
// environment, or Temporal's configuration file.
func (a *app) temporalAddressed() bool {
	o, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{EnvLookup: environment(a.Environ)})
	return err != nil || o.HostPort != ""
}

// temporal connects to Temporal; the caller closes it.
func (a *app) temporal(ctx context.Context) (*temporalServer, error) {
	o, err := a.temporalOptions()
	if err != nil {
		return nil, err
	}
	c, err := client.DialContext(ctx, o)
	if err != nil {
		const remedy = "TEMPORAL_ADDRESS and the other variables TEMPORAL_…; `holdfast dev` starts one"
		if !a.temporalAddressed() {
			return nil, &holdfast.UnavailableError{Part: "Temporal", Where: o.HostPort + ", since TEMPORAL_ADDRESS is not set,", Err: err,
				Remedy: "set " + remedy}
		}
		return nil, &holdfast.UnavailableError{Part: "Temporal", Where: o.HostPort, Err: err, Remedy: "see that it runs, and check " + remedy}
	}
	return &temporalServer{Client: c, suggester: a.suggester(), address: o.HostPort, namespace: o.Namespace, data: o.DataConverter, prefix: a.Prefix, ids: idPrefix(a), rolling: a.RollingUpgrade}, nil
}

func idPrefix(a *app) string {
	if a.RollingUpgrade {
		return ""
	}
	return a.Prefix
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

// unstick has the next task of a workflow given to whatever process is free, with its
// whole history. The process that had it last may have forgotten it; a task for an
// Update that comes to it all the same is failed by Temporal's SDK and given out again,
// which takes three times as long: of many workflows, most are forgotten
// ([worker.Options.WorkflowCache]).
func (t *temporalServer) unstick(ctx context.Context, workflowID string) {
	_, _ = t.WorkflowService().ResetStickyTaskQueue(ctx, &workflowservice.ResetStickyTaskQueueRequest{Namespace: t.namespace,
		Execution: &commonpb.WorkflowExecution{WorkflowId: workflowID}}) // else it takes longer
}

// database opens the database; the caller calls closeDB. It does not connect
// yet.
func (a *app) database() (db *gorm.DB, closeDB func(), err error) {
	if a.DatabaseURL == "" {
		return nil, nil, withRemedy(errors.New("no database"), "set DATABASE_URL, for example to postgres://user:password@host:5432/database")
	}
	db, err = gorm.Open(postgres.Open(unprepared(a.DatabaseURL)), &gorm.Config{Logger: logger.Discard, DisableAutomaticPing: true})
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

// searchAttributes decodes search attributes, which no codec encodes.
var searchAttributes = converter.GetDefaultDataConverter()
