package lanes

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// TestPlace: which workflow a receipt names.
func TestPlace(t *testing.T) {
	t.Parallel()
	own := workflows.WorkflowID("", "orders", "1")
	for name, row := range map[string]struct {
		id, run string // as the answer to the start says
		ended   [2]string
		err     error
		want    [2]string
	}{
		"its cohort": {"cohort/orders/7", "a", [2]string{"cohort/orders/7", "a"}, nil,
			[2]string{"cohort/orders/7", "a"}},
		"its cohort, whose start is to answer": {"cohort/orders/7", "", [2]string{"cohort/orders/7", "a"}, nil,
			[2]string{"cohort/orders/7", "a"}},
		"its own, whose start is to answer": {own, "", [2]string{own, "a"}, nil, [2]string{own, "a"}},
		"it has left":                       {"cohort/orders/7", "a", [2]string{own, "b"}, nil, [2]string{own, "b"}},
		"it is about to leave": {"cohort/orders/7", "a", [2]string{"cohort/orders/7", "a"},
			holdfast.ErrDeliveryPending, [2]string{own, ""}},
		"its cohort is to check it back": {"cohort/orders/7", "a", [2]string{"cohort/orders/7", "a"},
			holdfast.ErrUndecided, [2]string{"cohort/orders/7", "a"}},
		"a Recovery was faster": {own, "a", [2]string{"recovery/orders/7", "b"}, nil, [2]string{own, "a"}},
		"nothing is known":      {"cohort/orders/7", "a", [2]string{}, nil, [2]string{"cohort/orders/7", "a"}},
	} {
		p := newPending(context.Background(), "1", activities.Inline, true, nil)
		p.SeenIn(row.ended[0], row.ended[1])
		got := p.core.place(holdfast.Receipt{Group: "orders", WorkflowID: row.id, RunID: row.run}, row.err)
		require.Equal(t, row.want, [2]string{got.WorkflowID, got.RunID}, name)
	}
}

// TestRolledBackWithATransactionInside: what a local transaction says of another one
// that it sent is not said of itself.
func TestRolledBackWithATransactionInside(t *testing.T) {
	t.Parallel()
	mine := errors.New("mine")
	for _, inner := range []error{holdfast.ErrUndecided, holdfast.ErrDeliveryPending} {
		err := rolledBack(fmt.Errorf("%w: %w", mine, innerOf(inner)))
		require.ErrorIs(t, err, holdfast.ErrRolledBack)
		require.ErrorIs(t, err, mine)
		require.NotErrorIs(t, err, inner)
		require.ErrorContains(t, err, inner.Error())
		var away *holdfast.UnavailableError
		require.ErrorAs(t, err, &away)
	}
	require.ErrorIs(t, rolledBack(mine), mine)
	require.Equal(t, holdfast.ErrRolledBack, rolledBack(nil))
}

// innerOf is what a Send inside returns.
func innerOf(err error) error {
	return fmt.Errorf("%w: %w", err, &holdfast.UnavailableError{Part: "RabbitMQ"})
}
