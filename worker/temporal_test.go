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
