package stack

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdktemporal "go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/internal/stack/process"
	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

const envTestTemporalServer = "HOLDFAST_TEST_TEMPORAL_SERVER"

// TestTemporalServer runs the Temporal server with PostgreSQL persistence: it
// does its work at once, and keeps it at a crash, of its own or of PostgreSQL.
func TestTemporalServer(t *testing.T) {
	if os.Getenv(envTestTemporalServer) != "1" {
		t.Skip("building the Temporal server takes minutes on a machine that has not done it yet: set " + envTestTemporalServer + "=1 to run this")
	}
	dir, err := os.MkdirTemp("", "hf")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o711)) // or its user postgres cannot reach it
	o := Options{Dir: dir, IgnoreEnv: true, TemporalServer: TemporalPostgreSQL}
	s := start(t, o)
	require.Empty(t, s.TemporalUI())
	runWorkflow(t, s)

	env := s.Env()
	pid := s.Temporal.PID()
	kept := keepWorkflow(t, s)
	require.NoError(t, s.Temporal.Kill())
	_, alive := process.Lookup(pid)
	require.False(t, alive)
	require.NoError(t, s.Temporal.Start(deadline(t)))
	require.Equal(t, env, s.Env(), "same addresses")
	kept()
	runWorkflow(t, s)

	require.NoError(t, s.PostgreSQL.Kill())
	require.NoError(t, s.PostgreSQL.Start(deadline(t)))
	require.NoError(t, s.Temporal.Restart(deadline(t)))
	kept()

	begun := time.Now()
	require.NoError(t, s.Close())
	t.Logf("closed in %s", progress.Seconds(time.Since(begun)))
	s = start(t, o)
	require.Equal(t, env, s.Env(), "same addresses")
	kept()
	runWorkflow(t, s)
}

// runWorkflow runs a workflow that changes all of Holdfast's search attributes,
// which takes every service, and finds it by them.
func runWorkflow(t *testing.T, s *Stack) {
	ctx := deadline(t)
	o, err := s.TemporalOptions()
	require.NoError(t, err)
	c, err := client.DialContext(ctx, o)
	require.NoError(t, err)
	defer c.Close()
	w := worker.New(c, "trivial", worker.Options{})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) (string, error) {
		err := workflow.UpsertTypedSearchAttributes(ctx,
			sdktemporal.NewSearchAttributeKeyKeyword("HoldfastState").ValueSet("done"),
			sdktemporal.NewSearchAttributeKeyKeyword("HoldfastTopic").ValueSet("order.placed"),
			sdktemporal.NewSearchAttributeKeyKeywordList("HoldfastKey").ValueSet([]string{"1", "2"}))
		return "done", err
	}, workflow.RegisterOptions{Name: "Trivial"})
	require.NoError(t, w.Start())
	defer w.Stop()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: "trivial"}, "Trivial")
	require.NoError(t, err)
	var result string
	require.NoError(t, run.Get(ctx, &result))
	require.Equal(t, "done", result)
	require.Eventually(t, func() bool {
		n, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Namespace: o.Namespace, Query: "HoldfastState = 'done' AND HoldfastTopic = 'order.placed' AND HoldfastKey = '2'",
		})
		return err == nil && n.GetCount() > 0
	}, time.Minute, 50*time.Millisecond)
}

// TestTemporalServerNeedsPrivatePostgreSQL says what to do where there is none.
func TestTemporalServerNeedsPrivatePostgreSQL(t *testing.T) {
	t.Setenv(envDatabase, "postgres://u:secret@h/x")
	t.Setenv(envTemporal, "")
	_, err := Start(deadline(t), Options{TemporalServer: TemporalPostgreSQL})
	require.ErrorContains(t, err, "unset DATABASE_URL")
	require.NotContains(t, err.Error(), "secret")
}

func TestFreeSmallPort(t *testing.T) {
	p := ports{}
	require.NoError(t, p.fillFrom(freeSmallPort, "a", "b"))
	require.NotEqual(t, p["a"], p["b"])
	for _, port := range p {
		require.Less(t, port, 1<<15)
		require.True(t, portFree(port))
	}
}

func TestTemporalServerConfiguration(t *testing.T) {
	f := &folder{path: t.TempDir()}
	s := &temporalServer{f: f, dir: f.path, schema: true, ports: ports{},
		database: &postgres{password: "p", ports: ports{"sql": 1}}}
	require.NoError(t, s.prepare(t.Context(), false))
	first := s.address()
	require.NoError(t, s.prepare(t.Context(), false))
	require.Equal(t, first, s.address(), "same ports")
	for _, name := range temporalServices {
		require.Less(t, s.ports[name+"-membership"], 1<<15, "Temporal keeps it in a smallint")
	}
	require.Len(t, s.ports, 2*len(temporalServices)+1)
	text, err := os.ReadFile(f.join("dynamic.yaml"))
	require.NoError(t, err)
	require.NotContains(t, string(text), "transferProcessor", "Temporal's defaults")
}
