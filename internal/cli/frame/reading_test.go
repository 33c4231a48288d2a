package frame

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/saga/core"
)

func TestReadJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, []byte("[1]"), 0o600))
	for value, want := range map[string]string{`{"a":1}`: `{"a":1}`, "-": `{"in":true}`, "@" + path: "[1]", `"@x"`: `"@x"`} {
		a := &App{Surroundings: Surroundings{In: strings.NewReader(`{"in":true}`)}}
		got, err := ReadJSON(a, "--data", value, core.MaxData)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	a := &App{Surroundings: Surroundings{In: strings.NewReader(`"` + strings.Repeat("x", core.MaxData) + `"`)}}
	_, err := ReadJSON(a, "--data", "-", core.MaxData)
	require.ErrorContains(t, err, "--data: the standard input: it has more than 262144 bytes")
}
