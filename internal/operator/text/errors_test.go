package text

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

func TestErrorsAreOneLineWithTheirRemedy(t *testing.T) {
	err := fmt.Errorf("inspect: %w", &holdfast.UnavailableError{Part: "RabbitMQ", Where: "h:1", Remedy: "start it", Err: errors.New("no\n  route")})
	require.Equal(t, "inspect: RabbitMQ at h:1 cannot be used: no route (start it)", Of(err))
	what, remedy := SplitRemedy(err)
	require.Equal(t, "RabbitMQ at h:1 cannot be used: no route", what)
	require.Equal(t, "start it", remedy)
	what, remedy = SplitRemedy(fmt.Errorf("x: %w", WithRemedy(holdfast.ErrNotFound, "look %s", "elsewhere")))
	require.Equal(t, "not found", what)
	require.Equal(t, "look elsewhere", remedy)
}
