package stacktest

import (
	"context"
	"time"

	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/holdfastmq/holdfast/internal/stack/process"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
)

// askAgain asks again, until ctx ends, where Temporal's dev server does not know its namespace for a
// moment: on a busy machine it does, now and then.
func askAgain(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	opts ...grpc.CallOption) error {
	for {
		err := invoke(ctx, method, req, reply, conn, opts...)
		if !temporalerr.NoNamespace(serviceerror.FromStatus(status.Convert(err))) ||
			process.Pause(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
}
