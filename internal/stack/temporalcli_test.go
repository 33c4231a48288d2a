package stack

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/install"
	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

// TestTemporalBinary: the one that the environment names comes first, and nothing takes its
// place; then one on the PATH that is recent.
func TestTemporalBinary(t *testing.T) {
	script := func(text string) string {
		path := filepath.Join(t.TempDir(), "temporal")
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755))
		return path
	}
	recent, old := script("echo 'temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)'"), script("echo 'temporal version 1.4.1 (Server 1.28.0, UI 2.38.3)'")
	path := os.Getenv("PATH")
	var out bytes.Buffer
	in := install.New(progress.New(&out))

	t.Setenv(EnvTemporalCLI, recent)
	t.Setenv("PATH", filepath.Dir(old)+":"+path)
	got, err := temporalBinary(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, recent, got)
	require.Empty(t, out.String(), "the PATH was not asked")

	for named, text := range map[string]string{old: `says "temporal version 1.4.1`, script("exit 3"): "does not say its version",
		filepath.Join(t.TempDir(), "none"): "no such file", "": ""} {
		t.Setenv(EnvTemporalCLI, named)
		t.Setenv("PATH", filepath.Dir(recent)+":"+path)
		got, err := temporalBinary(t.Context(), in)
		if named == "" {
			require.NoError(t, err)
			require.Equal(t, recent, got)
			continue
		}
		require.ErrorContains(t, err, text)
		require.ErrorContains(t, err, EnvTemporalCLI)
		require.ErrorContains(t, err, "or unset it")
	}
}
