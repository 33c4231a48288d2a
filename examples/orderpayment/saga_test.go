package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/saga/core"
)

// TestSagaIsValid: before the pivot everything can be undone, after it nothing goes
// back.
func TestSagaIsValid(t *testing.T) {
	c, err := orderPayment(time.Hour).Compile()
	require.NoError(t, err)
	for _, s := range c.Plan.Steps {
		want := core.Backward
		if s.Name == "confirm-order" || s.Name == "ship" {
			want = core.Forward
		}
		require.Equal(t, want, s.OnFailure, s.Name)
	}
	for amount, asked := range map[string]bool{`{"amount": 99999}`: false, `{"amount": 100000}`: true} {
		got, err := c.When(stepApprove, []byte(amount))
		require.NoError(t, err)
		require.Equal(t, asked, got, amount)
	}
}
