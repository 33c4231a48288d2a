package frame

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/operator/vouch"
)

// TestALoginIsNotPassedBy without a word: what acts by itself wants a name, and a login that was
// named has to be there.
func TestALoginIsNotPassedBy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "login.json")
	check := func(vouched bool, operator string) (Who, error) {
		a := &App{}
		require.NoError(t, a.ReadEnvironment([]string{"HOLDFAST_LOGIN=" + path, "HOLDFAST_OPERATOR=ops"}, time.Now))
		w := Who{Reason: "x", Operator: operator, vouched: vouched}
		w.Complete(a)
		return w, w.Check()
	}
	_, err := check(true, "")
	require.ErrorContains(t, err, "HOLDFAST_LOGIN names "+path+", which is not there")
	require.NoError(t, vouch.Save(path, vouch.Login{Console: "https://console.example.com", Token: "x", Operator: "bob"}))
	w, err := check(true, "")
	require.NoError(t, err)
	require.NotNil(t, w.Via)
	w, err = check(false, "")
	require.ErrorContains(t, err, "this acts by itself: add --operator")
	require.Nil(t, w.Via)
	for _, vouched := range []bool{true, false} {
		w, err = check(vouched, "ann")
		require.NoError(t, err)
		require.Equal(t, "ann (claimed)", w.Operator)
		require.Nil(t, w.Via)
	}
}
