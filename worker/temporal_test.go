package worker

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/temporalerr"
)

// TestTemporalErrors: each is one of those that Send names, and says what to do.
func TestTemporalErrors(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		err     error
		invalid bool
		lasting bool
		remedy  string
	}{
		"away":         {err: serviceerror.NewUnavailable("gone"), remedy: "TEMPORAL_ADDRESS"},
		"any other":    {err: errors.New("odd"), remedy: "TEMPORAL_ADDRESS"},
		"denied":       {err: serviceerror.NewPermissionDenied("no", "why"), lasting: true, remedy: "TEMPORAL_API_KEY"},
		"unknown user": {err: status.Error(codes.Unauthenticated, "who?"), lasting: true, remedy: "TEMPORAL_API_KEY"},
		"bad input":    {err: serviceerror.NewInvalidArgument("too long"), invalid: true, lasting: true},
	} {
		err := temporalerr.Unavailable("start transaction 1", row.err)
		require.ErrorContains(t, err, "start transaction 1", name)
		require.ErrorIs(t, err, row.err, name)
		require.Equal(t, row.lasting, lasting(err), name)
		require.Equal(t, row.invalid, errors.Is(err, holdfast.ErrInvalid), name)
		var unavailable *holdfast.UnavailableError
		require.Equal(t, !row.invalid, errors.As(err, &unavailable), name)
		if !row.invalid {
			require.Equal(t, "Temporal", unavailable.Part)
			require.Contains(t, unavailable.Remedy, row.remedy)
		}
	}
}

// TestWhatTemporalRefuses: what the client or the server refuses for what it is, asking
// again brings the same: it is not taken for an outage, in which dead letters wait.
func TestWhatTemporalRefuses(t *testing.T) {
	t.Parallel()
	for text, err := range map[string]error{
		"header":   status.Error(codes.Internal, `header key "temporal-resource-id" contains value with non-printable ASCII characters`),
		"UTF-8":    status.Error(codes.Internal, "grpc: error while marshaling: string field contains invalid UTF-8"),
		"argument": serviceerror.NewInvalidArgument("WorkflowId length exceeds limit."),
		"wrapped":  serviceerror.FromStatus(status.New(codes.Internal, `header key "x" contains value with non-printable ASCII characters`)),
	} {
		err := temporalerr.Unavailable("start", err)
		require.ErrorIs(t, err, holdfast.ErrInvalid, text)
		require.Equal(t, err, new(Worker).away(err), "it is the record's own fault: %s", text)
	}
	var away *holdfast.UnavailableError
	require.ErrorAs(t, temporalerr.Unavailable("start", status.Error(codes.Unavailable, "connection refused")), &away)
}
