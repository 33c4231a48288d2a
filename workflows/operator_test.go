package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/workflows"
)

func TestReservedOperators(t *testing.T) {
	for name, want := range map[string]bool{"policy": true, "Policy": true, " timeout ": true, "temporal": true,
		"ann": false, "": false, "policy-team": false, "time out": false} {
		require.Equal(t, want, workflows.ReservedOperator(name), name)
	}
}
