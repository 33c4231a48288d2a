package desk

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/consumers"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

var errRuns = errors.New("consumer mailer runs in 1 process")

// TestAPauseThatMayHaveTakenEffect is not said to be none.
func TestAPauseThatMayHaveTakenEffect(t *testing.T) {
	t.Parallel()
	asked := actions.Outcome{ID: "mailer", Consumer: "mailer", Outcome: actions.Paused}
	for _, sure := range []error{holdfast.ErrInvalid, text.NoSuch("consumer", "mailer"), errRuns} {
		if sure == errRuns {
			_, err := unanswered(asked, &consumers.UntouchedError{Err: sure})
			require.ErrorIs(t, err, sure)
			continue
		}
		_, err := unanswered(asked, fmt.Errorf("mailer: %w", sure))
		require.ErrorIs(t, err, sure)
	}
	_, err := New(&reach.Config{AMQPURL: "amqp://127.0.0.1:1"}, time.Now).ActOnConsumer(t.Context(),
		"mailer", "pause", "", Who{"ann", "x"})
	require.Error(t, err, "RabbitMQ is away: nothing was sent")
	out, err := unanswered(asked, text.WithRemedy(fmt.Errorf("confirm: %w", context.DeadlineExceeded), "look at RabbitMQ"))
	require.NoError(t, err)
	require.Equal(t, actions.Unknown, out.Outcome)
	require.Contains(t, out.Detail, "may have taken effect: confirm: ")
	require.Contains(t, out.Remedy, "look at RabbitMQ; the consumer's page says")
	require.True(t, out.Bad(false, true))
}
