package stack

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

// limit bounds one test; the first on a bare machine installs things.
const limit = 15 * time.Minute

// testOut shows progress where `go test -v` asks for it.
type testOut struct{ t testing.TB }

func (o testOut) Write(p []byte) (int, error) {
	o.t.Logf("%s", p[:max(0, len(p)-1)])
	return len(p), nil
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// start starts a stack that ends with the test.
func start(t testing.TB, o Options) *Stack {
	t.Helper()
	o.Out = io.Writer(testOut{t})
	s, err := Start(deadline(t), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestStartsAndCloses(t *testing.T) {
	s := start(t, Options{IgnoreEnv: true})
	dir := s.Dir()
	require.DirExists(t, dir)
	for _, p := range []*Part{s.RabbitMQ, s.PostgreSQL, s.Temporal} {
		require.NotZero(t, p.PID(), p.Name())
	}
	require.Len(t, s.Env(), 5)
	begun := time.Now()
	require.NoError(t, s.Close())
	t.Logf("closed in %s", progress.Seconds(time.Since(begun)))
	require.NoError(t, s.Close(), "a second Close")
	require.NoDirExists(t, dir)
	require.Zero(t, s.RabbitMQ.PID())
}
