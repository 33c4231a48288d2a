package seal

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/keyring"
)

// A key is hashed once, whoever hashes it; an empty one stays empty, and without the option all
// stay as they are.
func TestKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ring")
	_, err := keyring.New(path)
	require.NoError(t, err)
	k, err := keyring.Open(path)
	require.NoError(t, err)
	byHand, err := holdfast.HashKey(t.Context(), k, "ann")
	require.NoError(t, err)
	sum := strings.TrimPrefix(byHand, "hashed-")
	for _, mode := range []holdfast.Encryption{holdfast.EncryptionOn, holdfast.EncryptionReadOnly} {
		b := New(k, mode).HashingKeys(true)
		for given, want := range map[string]string{"ann": byHand, byHand: byHand, "": "", "hashed-" + sum + sum: "hashed-" + sum + sum} {
			got, err := b.Key(t.Context(), given)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		sub := "travel." + byHand + ".hotel"
		for _, passedOn := range []string{sub, sub + ".2", "hotels." + sub + ".room", "my.travel." + byHand + ".the.hotel"} {
			got, err := b.Key(t.Context(), passedOn)
			require.NoError(t, err)
			require.Equal(t, passedOn, got, "of a step's saga")
		}
		for _, alike := range []string{"hashed-ann", "hashed-" + sum[:30], "hashed-" + strings.ToUpper(sum[:31]) + "A", "hashed-" + sum + "g0", sum, "hashed-", "travel.ann.hotel",
			byHand + ".ann", "ann." + byHand, "ann@x." + byHand + ".hotel", "travel.hashed-ann.hotel"} {
			got, err := b.Key(t.Context(), alike)
			require.NoError(t, err)
			require.NotEqual(t, alike, got)
			require.True(t, isHashed(got))
		}
	}
	ms := []holdfast.Message{{Key: "ann"}, {Key: byHand}, {}}
	got, err := New(k, "").HashingKeys(true).Keys(t.Context(), ms)
	require.NoError(t, err)
	require.Equal(t, []holdfast.Message{{Key: byHand}, {Key: byHand}, {}}, got)
	require.Equal(t, "ann", ms[0].Key, "the caller's stay")
	for _, b := range []*Box{nil, New(nil, ""), New(k, ""), New(k, "").HashingKeys(false)} {
		key, err := b.Key(t.Context(), "ann")
		require.NoError(t, err)
		require.Equal(t, "ann", key)
	}
	for value, want := range map[string]bool{"": false, "off": false, "on": true} {
		on, err := HashKeysSetting(value)
		require.NoError(t, err)
		require.Equal(t, want, on)
	}
	_, err = HashKeysSetting("true")
	require.ErrorIs(t, err, holdfast.ErrInvalid)
}
