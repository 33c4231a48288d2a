package deadletters

import (
	"context"
	"errors"
	"testing"

	"github.com/holdfastmq/holdfast/broker/internal/consumer"
	"github.com/stretchr/testify/require"
)

// What is no fault of the record is not moved about.
func TestIntakeKeepsItsOrderWhileTemporalIsAway(t *testing.T) {
	in := &intake{o: Options{Take: func(context.Context, Record) error { return nil }}.withDefaults(),
		holds: Holds{}.withDefaults()}
	in.waiting.Store(31)
	require.Equal(t, crowdedHold, in.hold(errors.New("its own")))
	require.Equal(t, intakeHold, in.hold(consumer.Wait(errors.New("Temporal is away"))))
	in.waiting.Store(16)
	require.Equal(t, intakeHold, in.hold(errors.New("its own")), "there is room")
}
