package actions

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckOperator(t *testing.T) {
	for name, want := range map[string]string{"ann": "", "": "empty", " ": "empty", "Policy": "Holdfast signs with that name",
		"a\nb": "not seen", strings.Repeat("x", MaxOperator+1): "too long"} {
		err := CheckOperator(name)
		if want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, want, name)
	}
}
