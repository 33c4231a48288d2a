package signals

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
)

// TestWhatTemporalRefuses: what the client or the server refuses for what it is, asking
// again brings the same: it is not taken for an outage, in which dead letters wait.
func TestWhatTemporalRefuses(t *testing.T) {
	t.Parallel()
	for text, err := range map[string]error{
		"header": status.Error(codes.Internal,
			`header key "temporal-resource-id" contains value with non-printable ASCII characters`),
		"UTF-8":    status.Error(codes.Internal, "grpc: error while marshaling: string field contains invalid UTF-8"),
		"argument": serviceerror.NewInvalidArgument("WorkflowId length exceeds limit."),
		"wrapped": serviceerror.FromStatus(status.New(codes.Internal,
			`header key "x" contains value with non-printable ASCII characters`)),
	} {
		err := temporalerr.Unavailable("start", err)
		require.ErrorIs(t, err, holdfast.ErrInvalid, text)
		require.Equal(t, err, Away(err), "it is the record's own fault: %s", text)
	}
	var away *holdfast.UnavailableError
	require.ErrorAs(t, temporalerr.Unavailable("start", status.Error(codes.Unavailable, "connection refused")), &away)
}
