package workflows_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/workflows"
)

func TestReservedOperators(t *testing.T) {
	for name, want := range map[string]bool{"policy": true, "Policy": true, " timeout ": true, "temporal": true,
		"holdfast": true, "System": true, "pol\u200bicy": true, "\u202epolicy": true, "pol\x00icy": true, "tem\u00a0poral": true,
		"ann": false, "": false, "policy-team": false, "time out": false, "systems": false} {
		require.Equal(t, want, workflows.ReservedOperator(name), name)
	}
}

// TestNamesThatNobodyHas: whoever names himself, they are refused.
func TestNamesThatNobodyHas(t *testing.T) {
	for name, want := range map[string]string{"ann": "", "Jürgen Müller": "", "李": "", "ops@example.com": "",
		strings.Repeat("x", workflows.MaxOperator): "", strings.Repeat("x", workflows.MaxOperator+1): "too long",
		"": "empty", " ": "empty", "Policy": "Holdfast signs with that name", "holdfast": "Holdfast signs with that name",
		"a\nb": "not seen", "a\u202eb": "not seen", "a\u200bb": "not seen", "policy\ufe0f": "not seen", "a\u034fb": "not seen", "a\u3164": "not seen",
		"a\u115f": "not seen", "a\u2800b": "not seen", "a\u2028b": "not seen", "a\xffb": "not seen",
		"ann (claimed)": "adds whether", "ann (Authenticated by oidc)": "adds whether", "ann (authenticated by oidc) ": "adds whether",
		"ann (claimed) x": "adds whether"} {
		err := workflows.CheckOperator(name)
		if want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, want, name)
	}
	require.Equal(t, "ann (claimed)", workflows.Claimed("ann"))
	require.Equal(t, "ann (authenticated by oidc)", workflows.Authenticated("ann", "oidc"))
	require.LessOrEqual(t, len(workflows.Authenticated(strings.Repeat("x", workflows.MaxOperator), "dev-login")), 200, "not cut in histories")
}
