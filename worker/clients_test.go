package worker_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// cable is the connection to Temporal, with faults: how it treats the starts of
// workflows.
type cable struct {
	lazy       bool // no eager start: whichever worker of the group comes first gets the workflow
	fail, lose atomic.Bool
	before     func(req any)      // called with each request before it is sent; nil: nobody wants that
	refuse     func(req any) bool // says of a request that it fails without having been sent; nil: of none
}

// failNext makes the next start fail without having been sent.
func (c *cable) failNext() { c.fail.Store(true) }

// loseNext makes the next start lose its answer.
func (c *cable) loseNext() { c.lose.Store(true) }

func (c *cable) intercept(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if c.before != nil {
		c.before(req)
	}
	if c.refuse != nil && c.refuse(req) {
		return status.Error(codes.FailedPrecondition, "the cable is cut")
	}
	start, ok := req.(*workflowservice.StartWorkflowExecutionRequest)
	if !ok {
		return invoke(ctx, method, req, reply, conn, opts...)
	}
	lose := c.lose.Swap(false)
	if c.lazy || lose { // the answer would hold the eager task
		start.RequestEagerExecution = false
	}
	if c.fail.Swap(false) {
		return status.Error(codes.FailedPrecondition, "the cable is cut")
	}
	if err := invoke(ctx, method, req, reply, conn, opts...); err != nil || !lose {
		return err
	}
	return status.Error(codes.FailedPrecondition, "the cable was cut meanwhile")
}

// dial connects to Temporal over c.
func (s *site) dial(c *cable) client.Client {
	s.t.Helper()
	return dialTemporal(s.t, s.at.Temporal, s.at.Namespace, c)
}

// dialTemporal connects lazily; c may be nil.
func dialTemporal(t testing.TB, address, namespace string, c *cable) client.Client {
	t.Helper()
	dialed, err := client.NewLazyClient(c.options(address, namespace, quiet(t)))
	require.NoError(t, err)
	t.Cleanup(dialed.Close)
	return dialed
}

func (c *cable) options(address, namespace string, logger log.Logger) client.Options {
	o := client.Options{HostPort: address, Namespace: namespace, Logger: logger, Identity: "recorder"}
	if c != nil {
		o.ConnectionOptions.DialOptions = []grpc.DialOption{grpc.WithChainUnaryInterceptor(c.intercept)}
	}
	return o
}
