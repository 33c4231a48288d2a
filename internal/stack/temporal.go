package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"

	"github.com/holdfastmq/holdfast/internal/stack/install"

	"github.com/holdfastmq/holdfast/internal/stack/process"
)

const (
	temporalName      = "Temporal"
	defaultNamespace  = "default"
	temporalGRPCPort  = "grpc"
	temporalUIPort    = "ui"
	temporalHTTPPort  = "http"
	temporalStatsPort = "metrics"
)

// searchAttributes are the ones Holdfast uses, with their types.
var searchAttributes = []string{
	"HoldfastState=Keyword",
	"HoldfastTopic=Keyword",
	"HoldfastKey=KeywordList",
}

// temporalLimits are raised: a benchmark is to measure the server, not its rate
// limits.
var temporalLimits = []struct {
	key   string
	value int
}{
	{"frontend.rps", 100000},
	{"frontend.namespaceRPS", 100000},
	{"frontend.namespaceRPS.visibility", 1000},
	{"frontend.namespaceCount", 10000},
	{"frontend.persistenceMaxQPS", 100000},
	{"history.rps", 100000},
	{"history.persistenceMaxQPS", 100000},
	{"matching.rps", 100000},
	{"matching.persistenceMaxQPS", 100000},
}

// temporal runs Temporal's dev server: all services and the web UI in one
// process, its data in one SQLite file.
type temporal struct {
	f         *folder
	dir       string
	binary    string
	namespace string
	ports     ports
}

func newTemporal(ctx context.Context, f *folder, in *install.Installer, namespace string) (*temporal, error) {
	t := &temporal{f: f, namespace: namespace, ports: f.loadPorts("temporal")}
	var err error
	if t.binary, err = temporalBinary(ctx, in); err != nil {
		return nil, err
	}
	t.dir, err = f.sub("temporal")
	return t, err
}

func (t *temporal) prepare(_ context.Context, repick bool) error {
	if repick {
		clear(t.ports)
	}
	if len(t.ports) > 0 {
		return nil
	}
	if err := t.ports.fill(temporalGRPCPort, temporalUIPort, temporalHTTPPort, temporalStatsPort); err != nil {
		return err
	}
	return t.f.savePorts("temporal", t.ports)
}

func (t *temporal) commands() []process.Command {
	port := func(purpose string) string { return strconv.Itoa(t.ports[purpose]) }
	args := []string{
		"server", "start-dev",
		"--ip", loopback,
		"--port", port(temporalGRPCPort),
		"--ui-port", port(temporalUIPort),
		"--http-port", port(temporalHTTPPort),
		"--metrics-port", port(temporalStatsPort),
		"--db-filename", filepath.Join(t.dir, "temporal.db"),
		// Survives the death of the process like SQLite's default journal does,
		// and writes half as much.
		"--sqlite-pragma", "journal_mode=WAL",
		"--sqlite-pragma", "synchronous=NORMAL",
		"--log-level", "error",
		"--color", "never",
	}
	if t.namespace != defaultNamespace { // which is always there
		args = append(args, "--namespace", t.namespace)
	}
	for _, a := range searchAttributes {
		args = append(args, "--search-attribute", a)
	}
	for _, l := range temporalLimits {
		args = append(args, "--dynamic-config-value", l.key+"="+strconv.Itoa(l.value))
	}
	args = append(args, "--dynamic-config-value", "system.enableEagerWorkflowStart=true")
	return []process.Command{{
		Label: "temporal", Path: t.binary, Args: args, Dir: t.dir,
		// Neither the user's CLI settings nor their home folder matter to the server.
		Env:  append(process.WithoutEnv(os.Environ(), "TEMPORAL_", "HOME"), "HOME="+t.dir),
		Stop: process.SigTerminate, Crash: process.SigKill,
	}}
}

func (t *temporal) address() string { return address(t.ports[temporalGRPCPort]) }

func (t *temporal) ui() string { return "http://" + address(t.ports[temporalUIPort]) }

// probe asks each of the server's services, and the web UI.
func (t *temporal) probe(ctx context.Context) (string, error) {
	version, err := pingTemporal(ctx, client.Options{HostPort: t.address(), Namespace: t.namespace})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.ui(), nil)
	if err != nil {
		return "", fmt.Errorf("web UI: %w", err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("web UI: %w", err)
	}
	return version, resp.Body.Close()
}

// pingTemporal connects and makes the frontend, the history and the persistence
// services answer.
func pingTemporal(ctx context.Context, o client.Options) (string, error) {
	o.Logger = sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))
	c, err := client.DialContext(ctx, o)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer c.Close()
	_, err = c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: o.Namespace})
	if err != nil {
		return "", fmt.Errorf("namespace %q: %w", o.Namespace, err)
	}
	_, err = c.DescribeWorkflowExecution(ctx, "holdfast-is-anybody-there", "")
	var notFound *serviceerror.NotFound
	if err != nil && !errors.As(err, &notFound) {
		return "", fmt.Errorf("history service: %w", err)
	}
	info, err := c.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
	if err != nil {
		return "", fmt.Errorf("system information: %w", err)
	}
	return temporalName + " " + info.GetServerVersion(), nil
}
