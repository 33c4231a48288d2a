package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfastmq/holdfast/internal/stack/install"

	"github.com/holdfastmq/holdfast/internal/stack/process"
)

// TemporalServer says which Temporal a stack starts.
type TemporalServer int

const (
	// TemporalDev is the dev server: all in one process, its data in one SQLite
	// file with one history shard, and a web UI. It starts within a second.
	TemporalDev TemporalServer = iota
	// TemporalPostgreSQL is the Temporal server as it runs in production, with its
	// data in the stack's own PostgreSQL and [TemporalShards] history shards. It
	// has no web UI. Building it takes minutes, once.
	TemporalPostgreSQL
)

// TemporalShards is the number of history shards of [TemporalPostgreSQL]: the
// default of Temporal's own Docker set-up.
const TemporalShards = 4

const (
	temporalServerVersion = "v1.29.1"
	temporalServerModule  = "go.temporal.io/server"
	temporalRetention     = 24 * time.Hour
	// temporalRefresh is how often Temporal's services look for new namespaces
	// and search attributes.
	temporalRefresh = 2 * time.Second
)

// temporalServices are the server's services, all in one process.
var temporalServices = []string{"frontend", "history", "matching", "worker"}

// temporalDatabases are Temporal's databases with the schemas that its sql tool
// brings along.
var temporalDatabases = []struct{ name, schema string }{
	{"temporal", "postgresql/v12/temporal"},
	{"temporal_visibility", "postgresql/v12/visibility"},
}

// temporalServer runs the Temporal server with PostgreSQL persistence.
type temporalServer struct {
	f         *folder
	dir       string
	server    string // the server's program
	sqlTool   string // makes its schema
	namespace string
	database  *postgres
	ports     ports     // a service's name, and with "-membership" where it talks to the others; "profile"
	schema    bool      // is up to date
	added     time.Time // when the search attributes were, if they were
	ready     bool      // was, once
}

func newTemporalServer(ctx context.Context, f *folder, in *install.Installer,
	namespace string) (*temporalServer, error) {
	t := &temporalServer{f: f, namespace: namespace, ports: f.loadPorts("temporal-server")}
	dir := in.Versioned("temporal-server", temporalServerVersion)
	b := install.GoBuild{
		Part: temporalName, What: "the Temporal server " + temporalServerVersion, Duration: "about 3 minutes",
		Dir: dir, Module: temporalServerModule, Version: temporalServerVersion,
		Packages: 1260,
		Programs: []install.Program{
			{Package: "cmd/server", Name: "temporal-server"}, {Package: "cmd/tools/sql", Name: "temporal-sql-tool"}},
		Remedy: "install Go, see https://go.dev/dl; or set TEMPORAL_ADDRESS to a running server",
	}
	if err := in.Build(ctx, b); err != nil {
		return nil, err
	}
	t.server, t.sqlTool = filepath.Join(dir, "temporal-server"), filepath.Join(dir, "temporal-sql-tool")
	var err error
	t.dir, err = f.sub("temporal-server")
	return t, err
}

func (t *temporalServer) prepare(ctx context.Context, repick bool) error {
	if repick {
		clear(t.ports)
	}
	if len(t.ports) == 0 {
		for _, s := range temporalServices {
			// Temporal keeps this one in a column of type smallint.
			if err := t.ports.fillFrom(freeSmallPort, s+"-membership"); err != nil {
				return err
			}
			if err := t.ports.fill(s); err != nil {
				return err
			}
		}
		if err := t.ports.fill("profile"); err != nil {
			return err
		}
		if err := t.f.savePorts("temporal-server", t.ports); err != nil {
			return err
		}
	}
	if err := t.configure(); err != nil {
		return err
	}
	if t.schema { // PostgreSQL may be down by now; then the server says so
		return nil
	}
	for _, d := range temporalDatabases {
		if err := t.prepareDatabase(ctx, d.name, d.schema); err != nil {
			return fmt.Errorf("database %s: %w", d.name, err)
		}
	}
	t.schema = true
	return nil
}

// configure writes the server's configuration: that of Temporal's own Docker
// set-up with PostgreSQL, but for ports, limits and the log.
func (t *temporalServer) configure() error {
	config, dynamic := new(strings.Builder), new(strings.Builder)
	fmt.Fprintf(config, `log: {stdout: true, level: error}
persistence:
  numHistoryShards: %d
  defaultStore: default
  visibilityStore: visibility
  datastores:
`, TemporalShards)
	for i, store := range []struct {
		name        string
		connections int
	}{{"default", 20}, {"visibility", 10}} {
		fmt.Fprintf(config, `    %s:
      sql:
        pluginName: postgres12
        databaseName: %s
        connectAddr: "%s"
        connectProtocol: tcp
        user: %s
        password: "%s"
        maxConns: %d
        maxIdleConns: %d
        maxConnLifetime: 1h
`, store.name, temporalDatabases[i].name, t.database.address(), postgresUser, t.database.password,
			store.connections, store.connections)
	}
	fmt.Fprintf(config, `global:
  membership: {maxJoinDuration: 30s, broadcastAddress: "%s"}
  pprof: {host: "%s", port: %d}
services:
`, loopback, loopback, t.ports["profile"])
	for _, s := range temporalServices {
		fmt.Fprintf(config, "  %s: {rpc: {grpcPort: %d, membershipPort: %d, bindOnIP: \"%s\"}}\n",
			s, t.ports[s], t.ports[s+"-membership"], loopback)
	}
	fmt.Fprintf(config, `clusterMetadata:
  enableGlobalNamespace: false
  failoverVersionIncrement: 10
  masterClusterName: active
  currentClusterName: active
  clusterInformation:
    active: {enabled: true, initialFailoverVersion: 1, rpcName: frontend, rpcAddress: "%s"}
dcRedirectionPolicy: {policy: noop}
dynamicConfigClient: {filepath: dynamic.yaml, pollInterval: 60s}
`, t.address())
	for _, l := range temporalLimits {
		fmt.Fprintf(dynamic, "%s:\n- value: %d\n", l.key, l.value)
	}
	if err := writeFile(filepath.Join(t.dir, "dynamic.yaml"), []byte(dynamic.String()), 0o600); err != nil {
		return err
	}
	return writeFile(filepath.Join(t.dir, "holdfast.yaml"), []byte(config.String()), 0o600)
}

// schemaMade is the comment on a database whose schema was made to the end.
const schemaMade = "Temporal schema made by Holdfast"

// prepareDatabase makes a database, or brings its schema up to date. A half made
// one is made anew.
func (t *temporalServer) prepareDatabase(ctx context.Context, name, schema string) error {
	admin := t.database.url("postgres")
	made, err := commented(ctx, admin, name)
	if err != nil {
		return err
	}
	if made == schemaMade {
		return t.sql(ctx, name, "update-schema", "--schema-name", schema)
	}
	if err := administer(ctx, admin, "drop it, for it is half made",
		"DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
		return err
	}
	if err := createDatabase(ctx, admin, name); err != nil {
		return err
	}
	if err := t.sql(ctx, name, "setup-schema", "--version", "0.0"); err != nil {
		return err
	}
	if err := t.sql(ctx, name, "update-schema", "--schema-name", schema); err != nil {
		return err
	}
	return administer(ctx, admin, "comment", "COMMENT ON DATABASE "+name+" IS '"+schemaMade+"'")
}

// sql runs Temporal's sql tool on a database.
func (t *temporalServer) sql(ctx context.Context, database string, args ...string) error {
	cmd := exec.CommandContext(ctx, t.sqlTool, args...)
	cmd.Dir = t.dir
	// Not on the command line: it would show the password.
	cmd.Env = append(process.WithoutEnv(os.Environ(), "SQL_"), "SQL_PLUGIN=postgres12", "SQL_HOST="+loopback,
		"SQL_PORT="+strconv.Itoa(t.database.ports["sql"]), "SQL_USER="+postgresUser,
		"SQL_PASSWORD="+t.database.password, "SQL_DATABASE="+database)
	process.OwnGroup(cmd)
	cmd.Cancel = func() error { return process.KillGroup(cmd.Process.Pid) }
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(t.sqlTool), args[0], err, process.LastLines(string(out), tailLines))
	}
	return nil
}

func (t *temporalServer) commands() []process.Command {
	return []process.Command{{
		Label: "temporal-server", Path: t.server, Dir: t.dir,
		Args: []string{"--root", t.dir, "--config", ".", "--env", "holdfast", "--allow-no-auth", "start"},
		Env:  append(process.WithoutEnv(os.Environ(), "TEMPORAL_", "HOME"), "HOME="+t.dir),
		Stop: process.SigTerminate, Crash: process.SigKill,
	}}
}

func (t *temporalServer) address() string { return address(t.ports["frontend"]) }

// probe asks each of the server's services. The first time it sees to it that
// namespace and search attributes are there, too.
func (t *temporalServer) probe(ctx context.Context) (string, error) {
	o := client.Options{HostPort: t.address(), Namespace: t.namespace,
		Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))}
	c, err := client.NewLazyClient(o)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer c.Close()
	if !t.ready {
		if err := t.register(ctx, c); err != nil {
			return "", err
		}
		// Every service hears of it at its own time.
		if err := process.Pause(ctx, time.Until(t.added.Add(2*temporalRefresh))); err != nil {
			return "", fmt.Errorf("namespace %q is being made known: %w", t.namespace, err)
		}
	}
	version, err := pingTemporal(ctx, o)
	if err != nil {
		return "", err
	}
	// All of its search attributes: that is what the frontend's cache must know.
	_, err = c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
		Namespace: t.namespace, Query: "HoldfastState = 'x' AND HoldfastTopic = 'x' AND HoldfastKey = 'x'",
	})
	if err != nil {
		return "", fmt.Errorf("visibility: %w", err)
	}
	_, err = c.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: t.namespace, TaskQueue: &taskqueue.TaskQueue{Name: "holdfast-is-anybody-there"},
		TaskQueueType: enums.TASK_QUEUE_TYPE_WORKFLOW,
	})
	if err != nil {
		return "", fmt.Errorf("matching service: %w", err)
	}
	t.ready = true
	return version, nil
}

// register makes the namespace and the search attributes, unless they are there.
func (t *temporalServer) register(ctx context.Context, c client.Client) error {
	_, err := c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: t.namespace, WorkflowExecutionRetentionPeriod: durationpb.New(temporalRetention),
	})
	var exists *serviceerror.NamespaceAlreadyExists
	if err != nil && !errors.As(err, &exists) {
		return fmt.Errorf("register namespace %q: %w", t.namespace, err)
	}
	known, err := c.OperatorService().ListSearchAttributes(ctx,
		&operatorservice.ListSearchAttributesRequest{Namespace: t.namespace})
	if err != nil {
		return fmt.Errorf("list search attributes: %w", err)
	}
	missing := map[string]enums.IndexedValueType{}
	for _, a := range searchAttributes {
		name, kind, _ := strings.Cut(a, "=")
		if _, ok := known.GetCustomAttributes()[name]; !ok {
			if missing[name], err = enums.IndexedValueTypeFromString(kind); err != nil {
				return fmt.Errorf("search attribute %s: %w", a, err)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: t.namespace, SearchAttributes: missing,
	})
	if err != nil {
		return fmt.Errorf("add search attributes: %w", err)
	}
	t.added = time.Now()
	return nil
}
