package stack

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
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

// TestTemporalIsDownloaded: for which systems, from where; "off" asks nobody, and what a server
// gives that is not Temporal's archive is not run.
func TestTemporalIsDownloaded(t *testing.T) {
	got := temporalPrebuilt("", "linux", "arm64")
	require.Equal(t, "https://github.com/temporalio/cli/releases/download/v1.5.1/temporal_cli_1.5.1_linux_arm64.tar.gz", got.URL)
	require.Len(t, got.SHA256, 64)
	require.Equal(t, "https://mirror/x/temporal_cli_1.5.1_darwin_amd64.tar.gz", temporalPrebuilt("https://mirror/x/", "darwin", "amd64").URL)
	require.Empty(t, temporalPrebuilt("", "windows", "amd64").URL)
	require.Empty(t, temporalPrebuilt(" OFF", "linux", "amd64").URL)

	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "go"), []byte("#!/bin/sh\n: > \"$GOBIN/temporal\""), 0o755))
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	t.Setenv(EnvTemporalCLI, "")
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		_, _ = w.Write([]byte("another program"))
	}))
	defer server.Close()
	for _, from := range []string{server.URL + "/cli", "off"} {
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		t.Setenv("HOME", t.TempDir())
		t.Setenv(EnvTemporalCLIURL, from)
		var out bytes.Buffer
		path, err := temporalBinary(t.Context(), install.New(progress.New(&out)))
		require.NoError(t, err)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Empty(t, text, "built")
		require.Equal(t, from != "off", strings.Contains(out.String(), "not downloaded"), out.String())
	}
	if _, known := temporalArchives[runtime.GOOS+"_"+runtime.GOARCH]; known {
		require.Equal(t, []string{"/cli/temporal_cli_1.5.1_" + runtime.GOOS + "_" + runtime.GOARCH + ".tar.gz"}, asked)
	}
}
