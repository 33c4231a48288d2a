package firstcall

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
)

// slowServer is a client whose checks wait for an answer.
type slowServer struct {
	client.Client
	checks  chan struct{}
	answers chan error
}

func (s *slowServer) CheckHealth(context.Context, *client.CheckHealthRequest) (*client.CheckHealthResponse, error) {
	s.checks <- struct{}{}
	return nil, <-s.answers
}

func (s *slowServer) ExecuteWorkflow(context.Context, client.StartWorkflowOptions, any, ...any) (client.WorkflowRun, error) {
	return nil, nil
}

// TestFirstCallIsOneCallers: while one caller reaches the server for the first time, the others wait; then none does.
func TestFirstCallIsOneCallers(t *testing.T) {
	server := &slowServer{checks: make(chan struct{}, 10), answers: make(chan error)}
	c := New(server)
	ctx := t.Context()
	done := make(chan error, 10)
	start := func(ctx context.Context) {
		go func() {
			_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{}, "W")
			done <- err
		}()
	}
	start(ctx)
	<-server.checks

	over, cancel := context.WithCancelCause(ctx)
	gone := errors.New("the caller has gone")
	cancel(gone)
	start(over)
	require.ErrorIs(t, <-done, gone)
	require.Empty(t, server.checks)

	away := errors.New("nobody listens")
	server.answers <- away
	require.ErrorIs(t, <-done, away)

	for range 5 {
		start(ctx)
	}
	<-server.checks
	server.answers <- nil
	for range 5 {
		require.NoError(t, <-done)
	}
	require.Empty(t, server.checks)
}
