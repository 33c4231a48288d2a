package worker

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/keyring"
)

// A process that could not sign, although it should, says so before it does anything.
func TestSigningVariables(t *testing.T) {
	dir := t.TempDir()
	keys, other := filepath.Join(dir, "signing.json"), filepath.Join(dir, "keyring.json")
	_, err := keyring.NewSigner(keys)
	require.NoError(t, err)
	_, err = keyring.New(other)
	require.NoError(t, err)
	try := func(file, mode string, change func(*Options)) error {
		t.Setenv("HOLDFAST_SIGNING_KEYRING", file)
		t.Setenv("HOLDFAST_SIGNING", mode)
		o := Options{AMQPURL: "amqp://127.0.0.1:1"}
		if change != nil {
			change(&o)
		}
		_, err := New(o)
		return err
	}
	for name, tc := range map[string]struct{ file, mode, says string }{
		"no keys":              {"", "required", "set HOLDFAST_SIGNING_KEYRING or Options.Signer"},
		"no file":              {dir + "/none", "", "HOLDFAST_SIGNING_KEYRING"},
		"a file that encrypts": {other, "", "keyring new --signing"},
		"no mode":              {keys, "yes", "want off, on or required"},
	} {
		err := try(tc.file, tc.mode, nil)
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
		require.ErrorContains(t, err, tc.says, name)
	}
	require.ErrorContains(t, try(keys, "required", func(o *Options) { o.RollingUpgrade = true }), "RollingUpgrade")
	for _, mode := range []string{"", "on", "off", "required"} {
		require.NoError(t, try(keys, mode, nil), mode)
	}
	require.NoError(t, try("", "", nil))
	t.Setenv("HOLDFAST_KEYRING", keys)
	_, err = New(Options{AMQPURL: "amqp://127.0.0.1:1"})
	require.ErrorContains(t, err, "it signs records")
}
