package stacktest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc"
)

func TestAskAgain(t *testing.T) {
	unknown := serviceerror.ToStatus(serviceerror.NewNamespaceNotFound("default")).Err()
	denied := serviceerror.ToStatus(serviceerror.NewPermissionDenied("no", "")).Err()
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	ask := func(answers ...error) error {
		asked = 0
		return askAgain(ctx, "", nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
			asked++
			return answers[min(asked, len(answers))-1]
		})
	}
	require.NoError(t, ask(unknown, unknown, nil))
	require.Equal(t, 3, asked)
	require.Equal(t, denied, ask(denied))
	require.Equal(t, 1, asked)
	cancel()
	require.Equal(t, unknown, ask(unknown), "as long as the caller waits")
}
