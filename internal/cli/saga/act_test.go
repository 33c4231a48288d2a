package saga

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhichAreStillMeant(t *testing.T) {
	var o sagaOrder
	o.States = []string{"parked"}
	require.Equal(t, []string{"parked"}, o.still(nil), "by filters: what they select")
	require.Empty(t, o.still([]string{"A-1"}), "by name: in any state")
}
